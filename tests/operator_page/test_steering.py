"""What an operator sees and does: start, watch, talk, stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from callers import Web
from lab import Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.verbs.instruments import Instruments

pytestmark = pytest.mark.slow


def chosen(screen: Any) -> str:
    """The serviceID of the execution whose page is shown."""
    return parse_qs(urlsplit(screen.page.url).query)["id"][0]


def beside(page: Any, field: str) -> str:
    """The sentence that a field is described by."""
    return f"#{page.get_attribute(f'{field}[aria-invalid=true]', 'aria-describedby')}"


def start(screen: Any, service: str, **inputs: str) -> str:
    """Start one by its form: its serviceID."""
    page = screen.go(f"operator/service?name={service}")
    for name, text in inputs.items():
        page.fill(f"[name=in-{name}]", text)
    page.click("button.go")
    page.wait_for_url("**/operator/execution?id=*")
    return chosen(screen)


def test_a_sweep_is_started_watched_and_started_again(screen: Any, standing: tuple[Lab, Web]) -> None:
    service_id = start(screen, "Sweep", points="150", stopVolts="2")
    screen.see("point", "#live .stage")
    screen.page.wait_for_selector("#plot canvas")
    screen.see("Completed", "#live .state")  # nobody has reloaded it
    screen.see("resistance", "#live")
    assert standing[0].record(service_id).request.user == "operator"
    assert standing[0].record(service_id).request.face == "page"
    screen.page.click("text=Start again with these inputs")
    assert screen.page.input_value("[name=in-points]") == "150"
    assert screen.page.input_value("[name=in-stopVolts]") == "2.0"
    assert screen.wrong == []


def test_each_bad_input_gets_a_sentence_beside_it_and_nothing_is_lost(screen: Any, standing: tuple[Lab, Web]) -> None:
    before = len(standing[0].jobs.list(SHELL))
    page = screen.go("operator/service?name=Sweep")
    for name, text in {"startVolts": "999", "points": "many", "compliance": "0.5"}.items():
        page.fill(f"[name=in-{name}]", text)
    page.click("button.go")
    screen.see("2 of the inputs must be mended", "form.start")
    screen.see("The input startVolts must be between -210 and 210 V, not “999”.", "#wrong-startVolts")
    screen.see("The input points must be a whole number, not “many”.", "#wrong-points")
    assert page.input_value("[name=in-startVolts]") == "999" and page.input_value("[name=in-compliance]") == "0.5"
    # what only all inputs together tell is said above them
    page.fill("[name=in-startVolts]", "1")
    page.fill("[name=in-points]", "5")
    page.click("button.go")
    screen.see("a curve needs two ends", "form.start .band")
    assert len(standing[0].jobs.list(SHELL)) == before


def test_a_file_is_handed_in_with_the_form(screen: Any, standing: tuple[Lab, Web], tmp_path: Path) -> None:
    (tmp_path / "hook.stl").write_text("solid hook")
    (tmp_path / "hook.txt").write_text("no solid")
    page = screen.go("operator/service?name=Talker")
    page.set_input_files("[name=file-part]", tmp_path / "hook.txt")
    page.click("button.go")
    screen.see("The input words is missing", "#wrong-words")
    screen.see("must be the name of a .stl file, not hook.txt", "#wrong-part")
    page.set_input_files("[name=file-part]", tmp_path / "hook.stl")
    page.click("button.go")
    screen.see("The input words is missing", "#wrong-words")
    assert (
        page.input_value("[name=in-part]") == "handed-in/hook.stl"
    )  # it is there already, and need not be chosen again
    page.fill("[name=in-words]", "print it")
    page.click("button.go")
    page.wait_for_url("**/operator/execution?id=*")
    screen.see("solid hook", "#live pre")
    page.click("text=Abort")
    screen.see("Aborted", "#live .state")
    # another file of that name replaces none
    (tmp_path / "hook.stl").write_text("another solid")
    page = screen.go("operator/service?name=Talker")
    page.set_input_files("[name=file-part]", tmp_path / "hook.stl")
    page.click("button.go")
    screen.see("The input words", "#wrong-words")
    assert page.input_value("[name=in-part]").startswith("handed-in/hook-")
    folder = standing[0].settings.files_folder / "handed-in"
    assert (folder / "hook.stl").read_text() == "solid hook" and len(list(folder.iterdir())) == 2


def test_messages_go_both_ways_and_what_is_being_written_stays(screen: Any, standing: tuple[Lab, Web]) -> None:
    service_id = start(screen, "Talker", words="hello")
    screen.see("listening")
    page = screen.page
    page.fill("#message", "half a sen")
    page.evaluate("document.activeElement.blur()")
    standing[0].jobs.notify(None, service_id, "knock", SHELL)
    screen.see("heard knock", "#live .messages")  # the page was made anew
    assert page.input_value("#message") == "half a sen"
    page.fill("#message", "  ")
    page.press("#message", "Enter")
    screen.see("The message is empty: write one.", beside(page, "#message"))
    page.fill("#message", "again")
    page.press("#message", "Enter")
    screen.see("It replied: heard again", "[role=status]")
    page.fill("#message", "go")
    page.press("#message", "Enter")
    screen.see("Completed", "#live .state")
    screen.see("hello red", "#live")


def test_STOP_ends_what_uses_an_instrument_and_it_stays_stopped(screen: Any, standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    service_id = start(screen, "Sweep", points="9000")
    screen.see("point", "#live .stage")
    waiting = start(screen, "Sweep", points="20")
    screen.see("in use by Sweep", "#live")
    page = screen.go("operator/lab")
    screen.see("in use", "#i-meter")
    screen.see("waiting for it: Sweep", "#i-meter")
    page.click("#i-meter button.stop")
    screen.see("meter: safe. What used it was ended; it was made safe and read back.", "[role=status]")
    assert lab.ended(service_id).state == "aborted"
    screen.see("stopped by operator", "#i-meter")
    assert lab.record(waiting).state == "queued"  # nothing follows until somebody has looked
    page.click("#i-printer button.stop")  # nobody has it
    screen.see("printer: safe. Nobody used it", "[role=status]")
    for name in ("meter", "printer"):
        page.click(f"#i-{name} button:has-text('Back into service')")
        screen.see(f"{name} is back in service", "[role=status]")
    assert lab.ended(waiting).state == "completed"
    # for the whole lab, from any page
    service_id = start(screen, "Sweep", points="9000")
    screen.see("point", "#live .stage")
    page.click("text=STOP all")
    screen.see("meter: safe", "[role=status]")
    screen.see("printer: safe", "[role=status]")
    assert lab.ended(service_id).state == "aborted"
    for name in ("meter", "printer"):
        page.click(f"#i-{name} button:has-text('Back into service')")
        screen.see(f"{name} is back in service", "[role=status]")
    acts = max(lab.settings.layout.audit.iterdir()).read_text()
    assert '"STOP"' in acts and '"page"' in acts


def test_an_instrument_is_reserved_and_another_one_sees_whose_it_is(
    screen: Any, open_screen: Any, standing: tuple[Lab, Web]
) -> None:
    other = open_screen(standing[1])
    page = other.go("operator/login")
    page.fill("#name", "Ada <b>Lovelace")
    page.click("button.go")
    screen.go("operator/lab")
    page = other.go("operator/lab")
    page.click("#i-printer summary")
    page.fill("#i-printer details [name=minutes]", "0")
    page.click("#i-printer button:text-is('Reserve')")
    sentence = beside(page, "#i-printer [name=minutes]:not([type=hidden])")
    other.see("printer can be had for 1 to 43200 minutes, not “0”.", sentence)
    assert page.input_value("#i-printer details [name=minutes]") == "0"
    page.fill("#i-printer details [name=minutes]", "60")
    page.click("#i-printer button:text-is('Reserve')")
    other.see("printer is reserved by Ada <b>Lovelace until", "[role=status]")
    screen.see("by Ada <b>Lovelace", "#i-printer")  # without a reload
    screen.page.click("#i-printer summary")
    screen.page.click("#i-printer button:text-is('Reserve')")
    screen.see("can't be reserved now: it is reserved by Ada", "[role=status]")
    page.click("#i-printer summary")
    page.click("#i-printer button:text-is('Ask who it is')")
    other.see("printer: ", "[role=status]")
    page.click("#i-printer summary")
    page.click("#i-printer button:text-is('Give it back')")
    screen.see("free", "#i-printer")


def test_the_list_is_filtered_and_paged(screen: Any, standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    for number in range(45):
        lab.start("Talker", f"many-{number:02}", words="x")
        lab.jobs.abort(None, f"many-{number:02}", SHELL)
    page = screen.go("operator/executions?service=Talker&state=aborted&user=shell")
    screen.see("many-44", "#live")
    assert page.locator("#live li.row").count() == 40 and "Sweep" not in page.inner_text("#live")
    page.click("text=older")
    screen.see("many-04", "#live")
    assert page.locator("#live li.row").count() >= 5 and "many-05" not in page.inner_text("#live")
    page.click("text=newest")
    page.select_option("[name=state]", "queued")
    page.click("text=Show")
    screen.see("None.", "#live")


def test_a_long_log_is_read_from_its_end_and_whole(screen: Any, standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    lab.start("Talker", "long log", words="\n".join(f"line {n} <i>" for n in range(20_000)))
    eventually(lambda: "line 19999" in lab.jobs.view("long log", SHELL).log)
    page = screen.go("operator/log?id=long%20log")
    screen.see("line 19999 <i>", "pre")
    page.click("text=beginning >> nth=0")
    screen.see("line 0 <i>", "pre")
    page.click("text=next >> nth=0")
    screen.see("line 5000", "pre")
    lab.jobs.abort(None, "long log", SHELL)


def test_an_ended_execution_is_removed_after_a_second_look(screen: Any, standing: tuple[Lab, Web]) -> None:
    service_id = start(screen, "Talker", words="bye")
    screen.page.click("text=Abort")
    screen.see("Aborted", "#live .state")
    screen.page.click("summary:text-is('Remove')")
    screen.page.click("text=Remove it")
    screen.see("has been removed", "[role=status]")
    screen.go(f"operator/execution?id={service_id}")
    screen.see("has been removed, its results too", "#main .band[role=alert]:not(#lost)")


def test_the_printer_is_taken_by_hand_heated_stopped_and_seen_cold(
    screen: Any, open_screen: Any, standing: tuple[Lab, Web]
) -> None:
    page = screen.go("operator/lab")
    page.click("#i-printer button:has-text('Take in hand')")
    screen.see("printer is in your hands", "[role=status]")
    screen.see("hotend", "#live .big")
    page.fill("#set-bed_target [name=in-bed_target]", "600")
    page.click("#set-bed_target button")
    screen.see("printer: bed_target must be between 0 and 120 °C, not “600”.", beside(page, "#set-bed_target input"))
    assert page.input_value("#set-bed_target [name=in-bed_target]") == "600"  # and nothing was sent
    assert page.evaluate("document.activeElement.name") == "in-bed_target"
    page.wait_for_timeout(2500)  # it stays, and the page goes on being that of the instrument
    screen.see("bed_target must be", "#set-bed_target")
    assert page.url.endswith("/operator/instrument?name=printer")
    page.fill("#set-bed_target [name=in-bed_target]", "60")
    page.click("#set-bed_target button")
    screen.see("bed_target is set to 60, and says 60 °C", "[role=status]")
    # another operator sees whose it is, and asks for it
    other = open_screen(standing[1])
    other.go("operator/login").fill("#name", "Ada")
    other.page.click("button.go")
    other.go("operator/instrument?name=printer")
    other.see("In the hands of operator", "#live")
    assert other.page.locator("#set-bed_target").count() == 0
    other.page.fill("#asks", "in a hurry")
    other.page.click("button:text-is('Ask')")
    other.see("operator was told that you would like to have printer", "[role=status]")
    screen.see("Ada would like to have it: in a hurry", "#live")
    page.wait_for_function(
        "parseFloat([...document.querySelectorAll('.big div')].find(d => d.innerText.startsWith('bed\\n'))"
        ".querySelector('dd').innerText) > 50"
    )
    page.click("#i-printer button.stop")
    screen.see("printer: safe. What used it was ended; it was made safe and read back.", "[role=status]")
    screen.see("stopped by operator", "#i-printer")
    page.goto(f"{screen.url}/operator/instrument?name=printer")
    page.click("text=Back into service")
    screen.see("printer is back in service", "[role=status]")
    page.click("#i-printer button:has-text('Take in hand')")
    screen.see("bed_target", "#live .big")
    targets = page.locator("#live .big div:has(dt:text-is('bed_target')) dd")
    assert targets.inner_text() == "0 °C"
    page.click("text=Let it go")
    screen.see("printer was read back safe, and is let go", "[role=status]")
    screen.see("free", "#i-printer")


def test_an_instrument_goes_out_of_service_with_a_reason_and_back(screen: Any, standing: tuple[Lab, Web]) -> None:
    page = screen.go("operator/lab")
    page.click("#i-meter summary")
    page.click("#i-meter button:text-is('Out of service')")
    screen.see("Say why it is taken out of service", beside(page, "#i-meter [name=reason]"))
    page.fill("#i-meter [name=reason]", "x" * 301)
    page.click("#i-meter button:text-is('Out of service')")
    screen.see("The text has 301 characters; 300 are the most.", beside(page, "#i-meter [name=reason]"))
    assert page.input_value("#i-meter [name=reason]") == "x" * 301  # nothing that was given is lost
    page.fill("#i-meter [name=reason]", "new probes")
    page.click("#i-meter button:text-is('Out of service')")
    screen.see("out of service: new probes (operator)", "#i-meter")
    service_id = start(screen, "Sweep", points="20")
    screen.see("Waiting", "#live .state")
    screen.see("new probes", "#live")  # and says why
    screen.go("operator/lab")
    page.click("#i-meter button:has-text('Back into service')")
    screen.see("meter is back in service", "[role=status]")
    assert standing[0].ended(service_id).state == "completed"
    screen.go("operator/instrument?name=meter")
    screen.see("out of service by operator: new probes", "#live")
    page.press("#note", "Enter")
    screen.see("The note is empty.", beside(page, "#note"))
    page.fill("#note", "probes <b>of gold")
    page.press("#note", "Enter")
    screen.see("probes <b>of gold", "#live")


def test_a_refusal_is_told_beside_its_field_in_the_pages_language(open_screen: Any, standing: tuple[Lab, Web]) -> None:
    screen = open_screen(standing[1], locale="de-DE")
    page = screen.go("operator/instrument?name=meter")
    page.click("#i-meter button:has-text('In Handbetrieb nehmen')")
    screen.see("Der Ausgang ist aus.", "#live .big")  # which its driver says
    page.fill("#set-volts [name=in-volts]", "999,5")
    page.click("#set-volts button")
    screen.see("meter: volts muss zwischen -210 und 210 V sein, nicht „999,5“.", beside(page, "#set-volts input"))
    assert page.input_value("#set-volts input[name=in-volts]") == "999,5"
    page.fill("#set-volts [name=in-volts]", "viel")
    page.click("#set-volts button")
    screen.see("meter: volts muss eine Zahl sein, nicht „viel“.", beside(page, "#set-volts input"))
    page.click("text=Freigeben")
    screen.see("frei", "#i-meter")


def test_what_came_of_an_act_goes_once_somebody_has_stopped_the_instrument(
    screen: Any, standing: tuple[Lab, Web]
) -> None:
    page = screen.go("operator/lab")
    page.click("#i-printer button:has-text('Take in hand')")
    screen.see("bed_target", "#live .big")
    page.fill("#set-bed_target [name=in-bed_target]", "50")
    page.click("#set-bed_target button")
    screen.see("bed_target is set to 50", ".band.good")
    page.wait_for_timeout(2500)
    screen.see("bed_target is set to 50", ".band.good")  # as long as that is so
    verbs = Instruments(standing[0].settings)
    verbs.stop(["printer"], SHELL)
    screen.see("stopped by shell", "#i-printer")
    page.wait_for_selector(".band.good", state="detached")
    verbs.put_back("printer", SHELL)
