"""Deliberate breaks of the engine, each with the test that fails of it: `.venv/bin/python tests/mutations.py [word …]`.

Each is made in a copy of the repository below the temporary folder, where its test must pass before and fail with it.
The words choose those whose names have one of them. docs/tests.md has the table; `--table` prints it. By hand, since
it takes some minutes; a text that is no longer there to be replaced is told at once (`--check`: that alone).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("app", "tests", "toolkits", "test_client", "docs", "pyproject.toml", "lab.toml", "env")
PATIENCE = ("PATIENCE = 90.0", "PATIENCE = 20.0")  # of the copy: what never comes is not waited for that long


@dataclass(frozen=True)
class Mutation:
    """One break: in `file` below app/labwaiter, `text` becomes `instead`."""

    name: str
    file: str
    text: str
    instead: str
    test: str  # below tests/


MUTATIONS = (
    Mutation(
        "an id that somebody made up is asked of the machine that it names",
        "fleet/sessions.py",
        '    if not hmac.compare_digest(_signature(said, seals).encode(), signature.encode("utf-8", "replace")):',
        "    if not signature:",
        "core/test_ids_of_sessions.py::test_a_made_up_id_is_asked_of_no_machine",
    ),
    Mutation(
        "a lease is not written before the port is opened",
        "runner/open_instruments.py",
        "            self._note(name)  # it may",
        "            # it may",
        "instruments/test_endings.py::test_whatever_dies_with_it_every_instrument_is_safe[everything_dies]",
    ),
    Mutation(
        "a program that is the whole work has no limits",
        "runner/main.py",
        "    confinement.put_on()\n    become(program, failure)",
        "    become(program, failure)",
        "stories/test_confined.py::test_a_job_and_all_that_it_starts_have_the_limits_of_its_service[command]",
    ),
    Mutation(
        "a caller's token outlives its job",
        "supervisor/states.py",
        "        self._store.forget_token(name)",
        "        # self._store.forget_token(name)",
        "stories/test_session_token.py::test_an_abort_takes_it_from_what_runs_and_from_what_waits",
    ),
    Mutation(
        "what another account leaves is read by its path",
        "store/files.py",
        "    return os.lstat(data).st_uid or None",
        "    return None",
        "stories/test_other_accounts.py::test_its_links_lead_us_nowhere",
    ),
    Mutation(
        "end.json may be written twice",
        "store/folder.py",
        "codec.dump(end), durable=True, exclusive=True)",
        "codec.dump(end), durable=True)",
        "core/test_records_on_disk.py::test_the_first_end_stands",
    ),
    Mutation(
        "end.json is not on the disk when it is told",
        "store/folder.py",
        "codec.dump(end), durable=True, exclusive=True)",
        "codec.dump(end), exclusive=True)",
        "core/test_records_on_disk.py::test_an_end_is_on_the_disk_before_it_has_its_name",
    ),
    Mutation(
        "the work of a job may begin twice",
        "store/folder.py",
        '/begun", os.O_WRONLY | os.O_EXCL)',
        '/begun", os.O_WRONLY)',
        "core/test_records_on_disk.py::test_work_begins_once",
    ),
    Mutation(
        "a start whose name is taken counts as made",
        "store/folder.py",
        "ENOTDIR: the name is taken\n                return False",
        "ENOTDIR: the name is taken\n                return True",
        "core/test_records_on_disk.py::test_an_execution_is_claimed_once",
    ),
    Mutation(
        "a job is adopted by its pid alone",
        "system/process.py",
        "    return identify(process.pid) == process\n",
        "    return identify(process.pid) is not None\n",
        "core/test_records_on_disk.py::test_a_pid_alone_is_nobody",
    ),
    Mutation(
        "a limit is not looked at",
        "supervisor/running_job.py",
        "    if rules.limit is not None and started and",
        "    if rules.limit is None and started and",
        "core/test_who_is_next.py::test_who_is_stopped",
    ),
    Mutation(
        "a project and a user have no limit",
        "store/limits.py",
        "        if not owner.is_known or len(here)",
        "        if True or len(here)",
        "stories/test_limits.py::test_a_user_and_a_project_have_a_limit_and_the_others_go_on",
    ),
    Mutation(
        "starts that come at the same time don't count for each other",
        "store/limits.py",
        "                if there == where and",
        "                if False and there == where and",
        "stories/test_limits.py::test_starts_that_come_at_the_same_time_to_several_workers_are_not_one_too_many[more1]",
    ),
    Mutation(
        "a start that was not recorded is counted",
        "store/limits.py",
        "                if most is not None and not is_recorded:",
        "                if False:",
        "stories/test_limits.py::test_what_was_refused_for_another_reason_is_not_counted",
    ),
    Mutation(
        "owners take no turns",
        "supervisor/queue.py",
        "        if next_one is None or turns",
        "        if next_one is None or False and turns",
        "core/test_who_is_next.py::test_owners_take_turns",
    ),
    Mutation(
        "a folder may grow without an end",
        "supervisor/sizes.py",
        "            if self._most is not None and count > self._most",
        "            if self._most is not None and count < 0",
        "stories/test_limits.py::test_an_execution_whose_folder_grows_too_large_fails_and_the_rest_goes_on",
    ),
    Mutation(
        "the last bytes of a disk are not kept for what runs",
        "store/limits.py",
        "        if free < reserve:",
        "        if free < 0:",
        "stories/test_limits.py::test_nothing_starts_on_a_disk_that_is_nearly_full",
    ),
    Mutation(
        "what the supervisor says wins over end.json",
        "model/record.py",
        "    if end is not None and end.outcome is not State.ABORTED:",
        "    if end is not None and end.outcome is not State.ABORTED and stopping is None:",
        "core/test_jobs_life.py::test_how_a_job_ended",
    ),
    Mutation(
        "the mark of an abort is not seen",
        "supervisor/aborts.py",
        '            return name in self._names or self._store.marked(name, "abort")',
        "            return name in self._names",
        "stories/test_bad_ends.py::test_an_abort_ends_what_runs_and_is_told_first_by_its_page",
    ),
    Mutation(
        "a stop is lost while the supervisor is replaced",
        "supervisor/single_instance.py",
        "        if self._pending & {signal.SIGTERM, signal.SIGINT}:",
        "        if False:",
        "stories/test_anything_may_die.py::test_a_stop_that_comes_while_the_supervisor_is_being_replaced_is_heard",
    ),
    Mutation(
        "a second supervisor serves the same folder",
        "supervisor/single_instance.py",
        'raise Taken("Another supervisor serves this jobs folder already.")',
        "pass",
        "stories/test_anything_may_die.py::test_of_two_supervisors_started_at_once_one_serves",
    ),
    Mutation(
        "what a job left behind is not looked for",
        "supervisor/guard.py",
        "    if not to_make_safe:\n        return",
        "    if True:\n        return",
        "instruments/test_endings.py::test_whatever_dies_with_it_every_instrument_is_safe[everything_dies]",
    ),
    Mutation(
        "an instrument that could not be made safe is free",
        "supervisor/guard.py",
        '            if report["safe"]:\n                leases.give_back',
        "            if True:\n                leases.give_back",
        "instruments/test_lost.py::test_a_printer_that_hears_and_says_nothing_is_stopped_and_not_called_safe",
    ),
    Mutation(
        "a damaged lease is free",
        "store/leases.py",
        'return Lease(instrument, Held.UNSAFE, why="Its lease is damaged, so nobody knows what was with it.")',
        "return None",
        "instruments/test_leases.py::test_a_damaged_lease_is_unsafe_and_not_free",
    ),
    Mutation(
        "a failure's page is not shown for 20 s",
        "verbs/jobs.py",
        "        return age is not None and not -1.0 <= age < TOLD_SECONDS",
        "        return True",
        "stories/test_bad_ends.py::test_a_failed_job_shows_its_page_for_20_seconds_then_its_fault",
    ),
    Mutation(
        "a start is not in the audit",
        "verbs/jobs.py",
        '        self._acts.begin("start", caller, about)\n',
        "",
        "stories/test_what_is_remembered.py::test_the_audit_says_who_did_what",
    ),
    Mutation(
        "an abort waits for the audit",
        "verbs/jobs.py",
        'self._acts.go_on("abort", caller, about)\n            gone = self.records.abort(record',
        'self._acts.begin("abort", caller, about)\n            gone = self.records.abort(record',
        "stories/test_what_is_remembered.py::"
        "test_where_the_audit_cannot_be_written_nothing_begins_and_all_can_be_stopped",
    ),
    Mutation(
        "a line of the audit is chained to nothing",
        "store/audit.py",
        '"prev": last.hash}',
        '"prev": FIRST}',
        "core/test_audit.py::test_lines_are_chained_and_say_when",
    ),
    Mutation(
        "what a caller sends begins a line of the log",
        "system/logs.py",
        "    if text.isprintable():\n        return text\n",
        "    if text:\n        return text\n",
        "core/test_logs.py::test_what_callers_send_is_one_line_and_none_of_its_own[text]",
    ),
    Mutation(
        "a log that was renamed is written on",
        "system/logs.py",
        "            self.follow()\n",
        "            pass\n",
        "core/test_logs.py::test_a_process_that_was_given_a_log_which_was_renamed_since_follows_it",
    ),
    Mutation(
        "a token is kept",
        "verbs/jobs.py",
        "            user=owner.user,",
        "            user=owner.user or caller.token,",
        "soap/test_contract.py::test_no_token_is_ever_kept",
    ),
    Mutation(
        "the token of another one is good",
        "authentication/token_file.py",
        "        if entry is None or not is_right:",
        "        if entry is None:",
        "authentication/test_token_file.py::test_any_other_is_refused",
    ),
    Mutation(
        "a manager's fault is a yes",
        "authentication/auth_manager.py",
        "        if good is not True:",
        "        if not good:",
        "authentication/test_managers.py::test_only_a_plain_true_is_a_yes",
    ),
    Mutation(
        "an execution is shown to other projects",
        "verbs/jobs.py",
        "        if not permission.may(caller, Action.SEE, request):\n            raise UnknownServiceID(UNKNOWN)",
        "        if False:\n            raise UnknownServiceID(UNKNOWN)",
        "core/test_permission.py::test_everybody_else_hears_what_is_said_of_an_unknown_one",
    ),
    Mutation(
        "the lane asks nobody whose an answer is",
        "soap/app.py",
        "            if kept is not None and allows(identity, kept.action, kept.record.request):",
        "            if kept is not None:",
        "soap/test_tokens.py::test_another_project_hears_what_is_said_of_an_unknown_serviceID_by_each_way",
    ),
    Mutation(
        "UNCHANGED is said to another token",
        "soap/operations.py",
        '{service_id}{token}"',
        '{service_id}"',
        "soap/test_contract.py::test_a_service_that_asks_for_it_answers_unchanged_to_the_one_who_saw_that_page",
    ),
    Mutation(
        "a status.txt that has changed is not read again",
        "store/local_store.py",
        "if read is not None and read[0] == (status.st_ctime_ns, status.st_size):",
        "if read is not None:",
        "soap/test_nothing_older.py::test_no_page_is_older_than_the_last_status_txt[over]",
    ),
    Mutation(
        "that a job goes on is told though nobody would write its end",
        "store/local_store.py",
        "return self._store.is_served() and self._folder.is_active(record.name)",
        "return self._folder.is_active(record.name)",
        "soap/test_lane.py::test_where_nobody_would_write_the_end_of_a_job_all_is_looked_at[supervisor]",
    ),
    Mutation(
        "a DOCTYPE is accepted",
        "soap/door.py",
        "    if root.getroottree().docinfo.internalDTD is not None or root.getroottree().docinfo.doctype:",
        "    if False:",
        "soap/test_raw_requests.py::test_what_cannot_be_understood_is_a_client_fault",
    ),
    Mutation(
        "what a kept answer was made of is not looked at",
        "soap/lane.py",
        " or not self._revision.are_same()",
        "",
        "soap/test_nothing_older.py::test_no_page_is_older_than_the_last_status_txt[renamed]",
    ),
    Mutation(
        "a form of polls is not tried at the door",
        "soap/lane.py",
        "            if self._is_right(form):",
        "            if True:",
        "soap/test_both_ways.py::test_whatever_is_sent_once_a_form_is_known_is_answered_alike",
    ),
    Mutation(
        "an answer is kept beyond the second on its page",
        "store/local_store.py",
        "        return int(now), int(ran or 0.0), self._share(now)",
        "        return 0, 0, self._share(now)",
        "soap/test_both_ways.py::test_what_the_clock_or_the_queue_changes_is_told_in_time",
    ),
    Mutation(
        "the lane's first answer is not compared",
        "soap/lane.py",
        "next_look: int = field(default=1,",
        "next_look: int = field(default=2,",
        "soap/test_lane.py::test_what_the_lane_would_answer_first_is_compared_before_it_is_sent",
    ),
    Mutation(
        "a job's files are shown without their key",
        "store/artifacts.py",
        'return _plain(job) and hmac.compare_digest(self._key_of(job).encode(), key.encode("utf-8", "replace"))',
        "return _plain(job)",
        "web/test_files.py::test_without_the_key_nothing_is_told",
    ),
    Mutation(
        "an order's signature is not looked at",
        "fleet/signing.py",
        "            if not hmac.compare_digest(",
        "            if False and not hmac.compare_digest(",
        "core/test_fleet_store.py::test_what_was_not_ordered_by_this_lab_for_this_machine_is_refused",
    ),
    Mutation(
        "a thread that could not start is started again",
        "system/process.py",
        "    return when_possible(begin)",
        "    thread = Thread(target=target, args=args, name=name, daemon=daemon)\n"
        "    when_possible(thread.start)\n    return thread",
        "stories/test_want.py::test_a_thread_that_could_not_begin_is_another_one_at_the_next_try",
    ),
    Mutation(
        "a wrong token is compared letter by letter",
        "authentication/token_file.py",
        "hmac.compare_digest(_hash(salt, secret), right)",
        "_hash(salt, secret) == right",
        "hostile/test_guessing.py::test_each_wrong_token_takes_one_hash_and_one_comparison_in_constant_time[no id]",
    ),
    Mutation(
        "what a tombstone tells is told to everybody",
        "verbs/jobs.py",
        "if not permission.may(caller, Action.SEE, error.tombstone):",
        "if False:",
        "core/test_permission.py::test_that_one_was_removed_is_told_to_whose_it_was[of another project-status]",
    ),
    Mutation(
        "a mark is touched where a link leads",
        "store/folder.py",
        "os.utime(mark, (now, now), follow_symlinks=False)",
        "os.utime(mark, (now, now))",
        "hostile/test_paths_and_links.py::test_a_link_in_the_place_of_a_mark_is_not_followed[polled]",
    ),
    Mutation(
        "a web worker tells again what it has told",
        "store/figures.py",
        "            self._told = own\n",
        "",
        "core/test_figures.py::test_what_two_workers_counted_is_their_sum_whatever_words_each_had",
    ),
    Mutation(
        "a proxy on this machine gets the metrics for others",
        "public.py",
        "    if any(name in environ for name in FORWARDED):\n        return False\n",
        "",
        "web/test_metrics.py::test_metrics_are_told_to_those_that_a_setting_names",
    ),
    Mutation(
        "a page of another site starts executions",
        "api/gate.py",
        "        if public.is_of_another_site(environ, self._settings):",
        "        if False:",
        "web/test_api.py::test_a_page_of_another_site_starts_nothing",
    ),
    Mutation(
        "an answer that was kept for somebody is given to others",
        "api/answers.py",
        "(identity, g.root, request.full_path)",
        "(g.root, request.full_path)",
        "web/test_api.py::test_another_project_sees_nothing_of_it",
    ),
    Mutation(
        "an input that is put in before another is told as appended",
        "desk/changes.py",
        "        if follows:\n",
        "        if False:\n",
        "cli/test_kept_wsdls.py::test_what_registered_callers_would_feel_is_wrong_until_it_is_kept",
    ),
    Mutation(
        "a supervisor of another environment goes on with its own code, and nobody says so",
        "store/supervisor_client.py",
        "    while other and alive(settings) == pid and (other := code_elsewhere(pid)):\n",
        "    while False:\n",
        "stories/test_upgrade.py::test_one_that_goes_on_with_its_own_code_is_told",
    ),
    Mutation(
        "a session's instruments are made safe, and given back, before on_dispose has ended",
        "supervisor/guard.py",
        "    if _dispose(store, running_job.name) and running_job.instruments:\n"
        "        make_safe(store, running_job.name, running_job.instruments)",
        "    make_safe(store, running_job.name, running_job.instruments)\n    _dispose(store, running_job.name)",
        "labs/test_endings_of_sessions.py::test_what_on_dispose_has_left_on_is_made_safe_behind_it",
    ),
    Mutation(
        "that on_dispose is due is not on the disk before on_start",
        "runner/session.py",
        "    write_whole(job.folder / lab_session.DISPOSE, json.dumps(due).encode(), durable=True)\n",
        "",
        "labs/test_endings_of_sessions.py::test_on_start_that_fails_is_put_away_before_the_caller_hears_of_it",
    ),
    Mutation(
        "a session's tasks are not ended before on_dispose",
        "supervisor/guard.py",
        "        tasks.end_all(store, job)\n",
        "        pass\n",
        "labs/test_tasks.py::test_a_task_ends_with_its_session_before_on_dispose[False]",
    ),
    Mutation(
        "a lab that each start would fail in is open",
        "verbs/sessions.py",
        "            reasons += self._mistakes(found)\n",
        "            pass\n",
        "labs/test_files_of_labs.py::test_a_lab_that_names_too_much_is_closed_and_lets_nobody_in",
    ),
    Mutation(
        "a short password of a calling system may be guessed without end",
        "web/lab_server/login.py",
        "        if good and len(password) >= LONG:",
        "        if good:",
        "lab_server/test_callers.py::test_a_short_password_can_not_be_guessed_by_trying_without_end",
    ),
    Mutation(
        "the key of a status page's buttons is every execution's",
        "store/artifacts.py",
        'text = f"{created!r} {job}".encode',
        'text = "one for all".encode',
        "web/test_buttons.py::test_a_wrong_key_does_nothing_and_no_other_page_is_told_why"
        "[0000000000000000000000000000000000000000]",
    ),
    Mutation(
        "the look before an upgrade keeps what it has found of the services",
        "upgrade.py",
        "pool.map(catalogue.check, files)",
        "pool.map(lambda file: catalogue.check(file, settings.layout.services), files)",
        "cli/test_upgrade_check.py::test_where_executions_have_been_nothing_is_kept_of_what_it_finds",
    ),
    Mutation(
        "a part of a page is known again by less than it is made of",
        "web/operator_page/live.py",
        'context["visitor"], values))',
        'context["visitor"], values[0], values[1]["name"]))',
        "operator_page/test_open_pages.py::test_a_card_is_made_anew_when_something_on_it_has_changed",
    ),
    Mutation(
        "over Redis a session is over as soon as its machine isn't heard of",
        "fleet/sessions.py",
        'told.update(dict.fromkeys(ids, ("", self.ask_again)))',
        'told.update(dict.fromkeys(ids, ("", -1)))',
        "fleet/test_sessions_across.py::test_redis_away_for_a_moment_ends_nothing_and_for_long_what_nobody_asks_for",
    ),
    Mutation(
        "a delete that meets a silent machine is lost",
        "fleet/sessions.py",
        "self._others.leave(function, machine, caller, ACT_SECONDS, STAYS, **inputs)",
        "self._others.leave(function, machine, caller, ACT_SECONDS, 0.0, **inputs)",
        "fleet/test_sessions_across.py::test_a_delete_that_meets_a_silent_machine_is_done_when_it_is_heard_of",
    ),
    Mutation(
        "who asks again why a session did not begin is told that it failed",
        "verbs/sessions.py",
        "            self._refused[job] = error\n",
        "",
        "labs/test_one_queue.py::test_whoever_was_told_that_a_lab_is_taken_is_told_so_again",
    ),
    Mutation(
        "a page's question is answered once more without its session being judged",
        "web/operator_page/live.py",
        "if self._sessions.visitor_by(question.visitor.cookie) != question.visitor:",
        "if not question.visitor:",
        "operator_page/test_open_pages.py::"
        "test_an_open_page_of_a_token_that_was_revoked_is_refused_at_its_next_question",
    ),
)


def table() -> str:
    """The breaks and their tests, as docs/tests.md has them."""
    rows = [f"| {mutation.name} | `{mutation.test}` |" for mutation in MUTATIONS]
    return "\n".join(["| break | the test that fails |", "| --- | --- |", *rows])


def replaced(file: Path, text: str, instead: str) -> str:
    """The file's text with the one place replaced. Raises ValueError where there are none or several."""
    before = file.read_text()
    if before.count(text) != 1:
        raise ValueError(f"{file.name} has this {before.count(text)} times, not once: {text!r}")
    return before.replace(text, instead)


def passes(copy: Path, tests: list[str]) -> bool:
    """Whether these tests pass in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run {tests}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def main() -> None:
    """Try those that are named, or all."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    if "--table" in sys.argv:
        print(table())
        return
    for mutation in MUTATIONS:  # all are looked at, before any takes its time
        replaced(ROOT / "app" / "labwaiter" / mutation.file, mutation.text, mutation.instead)
        file, _, test = mutation.test.partition("::")
        if f"\ndef {test.partition('[')[0]}(" not in (ROOT / "tests" / file).read_text():
            raise SystemExit(f"{mutation.name}: there is no {mutation.test}.")
    if table() not in (ROOT / "docs" / "tests.md").read_text():
        raise SystemExit("docs/tests.md has another table: put what --table prints there.")
    if "--check" in sys.argv:
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "labwaiter"
        copy.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy)
        lab = copy / "tests" / "lab.py"
        lab.write_text(replaced(lab, *PATIENCE))
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # a file that changes within a second is not read from a cache
        if not passes(copy, sorted({f"tests/{mutation.test}" for mutation in chosen})):
            raise SystemExit("Without any break not all of their tests pass.")
        missed = 0
        for mutation in chosen:
            file = copy / "app" / "labwaiter" / mutation.file
            before = file.read_text()
            file.write_text(replaced(file, mutation.text, mutation.instead))
            caught = not passes(copy, [f"tests/{mutation.test}"])
            file.write_text(before)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}: {mutation.name}", flush=True)
        if missed:
            raise SystemExit(f"{missed} of {len(chosen)} were missed.")


if __name__ == "__main__":
    main()
