"""lint and workflow: what an engineer does at the desk before a service is registered."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import terminal
from .jobs import as_json

if TYPE_CHECKING:  # suds, lxml and Flask are imported by the commands that need them
    from ..desk.show import Page
    from ..desk.workflow import Workflow


@click.command()
@click.argument("wsdl")
@as_json
def lint(wsdl: str, json_: bool) -> None:
    """Say whether a workflow editor will take a service.

    WSDL is an address or a file, of our services or of anybody's. Exit status: 0 fine (warnings are),
    1 with errors, 2 no such file, 3 not reachable.
    """
    from ..desk import findings
    from ..desk import lint as rules
    from ..desk.wsdl import Unreachable, Unreadable, read

    url = Path(wsdl).resolve().as_uri() if Path(wsdl).is_file() else wsdl
    if "://" not in url:
        raise click.BadParameter(f"{terminal.plain(wsdl)} is no file here, and no address: one begins with http://.")
    try:
        described = read(url)
        problems, start = rules.lint(described), rules.start_of(described)
    except Unreachable as error:
        raise TimeoutError(terminal.plain(str(error), 600)) from error
    except Unreadable as error:
        problems, described, start = [findings.error(str(error), "Correct that first.")], None, None
    errors = sum(f.level == "error" for f in problems)
    if json_:
        terminal.as_json({"service": described.service if described else "", "findings": [asdict(f) for f in problems]})
        sys.exit(1 if errors else 0)
    if described is not None and start is not None:
        operation = described.operations[start]
        inputs = ", ".join(f.name if f.mandatory else f"[{f.name}]" for f in operation.input.fields or ())
        outputs = ", ".join(f.name for f in operation.output.fields or ())
        click.echo(terminal.plain(f"{described.service}: {start}({inputs}) gives {outputs or 'nothing'}", 1000))
    terminal.findings(problems)
    warnings = len(problems) - errors
    click.echo(
        "Nothing is wrong with it."
        if not problems
        else f"{terminal.count(errors, 'error')}, {terminal.count(warnings, 'warning')}."
    )
    sys.exit(1 if errors else 0)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--page", is_flag=True, help="Show the steps and their status pages in the browser, as a portal does.")
@click.option("--open/--no-open", "open_", default=True, help="Open the browser for --page, or only say the address.")
@click.option("--every", type=click.FloatRange(0.1, 3600), help="Seconds between two polls; default: the file's, or 6.")
@as_json
def workflow(file: Path, page: bool, open_: bool, every: float | None, json_: bool) -> None:
    """Run the services of a small workflow by their WSDLs, one after the other.

    FILE is TOML: see examples/two_steps.toml. A workflow manager's token may be given in $SESSION_TOKEN.
    Ctrl-C aborts the running step. Exit status: 0 completed, 1 failed or aborted, 2 the file is wrong,
    3 a service is not reachable.
    """
    from ..desk import plan as plans
    from ..desk.service_client import Away
    from ..desk.workflow import Ended, StepState, Workflow

    try:
        plan = plans.load(file)
    except (plans.Unreachable, plans.Unreadable) as error:
        raise TimeoutError(terminal.plain(str(error), 600)) from error
    if every is not None:
        plan = replace(plan, every=every)
    for stop in (signal.SIGTERM, signal.SIGINT):  # SIGINT is ignored behind a script's &
        signal.signal(stop, signal.default_int_handler)
    run = Workflow(
        plan, os.environ.get("SESSION_TOKEN") or "desk", lambda line: click.echo(terminal.plain(line, 1000), err=True)
    )
    shown = _shown(run, open_) if page else None
    why, status = "", 0
    try:
        run.run()
    except Ended as error:
        why, status = str(error), 1
    except Away as error:
        why, status = str(error), 3
    except KeyboardInterrupt:
        stopped = next((seen for seen in run.seen if seen.state is StepState.ABORTED), None)
        why, status = f"Interrupted. {f'{stopped.name}: {stopped.why}' if stopped else 'No step was running.'}", 1
    if shown is not None:
        shown.close()
        _keep(shown, Path(f"{file.stem}.page.html"), tell=not json_)
    if json_:
        steps = [{k: v for k, v in asdict(seen).items() if k not in ("page", "pages")} for seen in run.seen]
        terminal.as_json({"outputs": run.outputs, "why": why, "steps": steps})
    elif not why:
        for name, value in run.outputs.items():
            click.echo(f"{terminal.plain(name)} = {terminal.plain(value, 10_000)}")
    if why:
        click.echo(f"Error: {terminal.plain(why, 2000)}", err=True)
    sys.exit(status)


def _shown(run: Workflow, open_: bool) -> Page:
    from ..desk.show import Page

    shown = Page(run)
    click.echo(f"The page: {shown.address}", err=True)
    # without a screen it would be a text browser, in the terminal where the steps are told
    if open_ and any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        webbrowser.open(shown.address)
    return shown


def _keep(shown: Page, file: Path, tell: bool) -> None:
    """Save the page as it was at the end, in the folder where the command was called."""
    try:
        shown.save(file)
    except OSError as error:
        click.echo(f"The page can't be saved as {file.resolve()}: {error.strerror}.", err=True)
        return
    if tell:
        click.echo(f"The last page was saved: {file.resolve()}", err=True)
