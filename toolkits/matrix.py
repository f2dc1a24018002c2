"""Take SOAP toolkits through the contract: toolkits/run [KIT …] [--install] [--write].

Starts a deployment of its own, makes each toolkit's client of the WSDL, and tells how each case
went. A toolkit that isn't installed is left out and named.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from callers import Web
from cases import CASES, Verdict
from kits import KITS, CantImport, Client, Described, Kit, NotHere
from lab import Lab
from labwaiter.model.service import Service

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "toolkits.md"
SIGNS = {"passes": "✓", "can't do": "–", "WRONG": "✗"}
IMPORTED = "the WSDL is imported"
SHIPPED = "every shipped service is taken"


def tried(kit: Kit, wsdl: str) -> dict[str, Verdict]:
    """How one toolkit goes through every case. Raises NotHere."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            client = Client(kit.make(Path(folder), wsdl))
        except CantImport as error:
            return {IMPORTED: Verdict("WRONG", str(error))}
        try:
            return {IMPORTED: Verdict("passes"), **{name: case(client) for name, case in CASES.items()}}
        finally:
            client.close()


def described(service: Service, wsdl: str) -> Described:
    """A service with something for each of its mandatory inputs."""
    own = [p for p in service.inputs if p.mandatory and p.kind != "instrument"]
    some = {"int": "1", "float": "1", "boolean": "true"}
    return Described(wsdl, service.operation, {p.name: (*p.choices, some.get(p.kind, "x"))[0] for p in own})


def takes(kit: Kit, services: list[Described]) -> Verdict:
    """Whether a toolkit takes each of these services. Raises NotHere."""
    for service in services:
        with tempfile.TemporaryDirectory() as folder:
            try:
                kit.takes(Path(folder), service)
            except CantImport as error:
                return Verdict("WRONG", f"{service.start}: {error}")
    return Verdict("passes")


def written(results: dict[str, dict[str, Verdict]], missing: dict[str, str]) -> str:
    """The table as a page of the documentation."""
    kits = {key: KITS[key] for key in results}
    lines = [
        "# SOAP toolkits",
        "",
        "Which client was taken through which case, for real. Made by `toolkits/run --write`; don't edit it.",
        f"{time.strftime('%Y-%m-%d')}, {platform.freedesktop_os_release()['PRETTY_NAME']}.",
        "",
        "✓ passes, – the toolkit itself can't do that, ✗ wrong.",
        "",
        "| case | " + " | ".join(kit.name for kit in kits.values()) + " |",
        "| --- |" + " :-: |" * len(kits),
    ]
    notes: dict[tuple[str, str], list[str]] = {}
    for case in (IMPORTED, *CASES, SHIPPED):
        cells = []
        for key, kit in kits.items():
            verdict = results[key].get(case, Verdict("WRONG", "not reached"))
            cells.append(SIGNS[verdict.mark])
            if verdict.words:
                notes.setdefault((kit.name, " ".join(verdict.words.split())), []).append(case)
        lines.append(f"| {case.replace('|', '')} | " + " | ".join(cells) + " |")
    lines += ["", "| toolkit | version | Debian packages |", "| --- | --- | --- |"]
    lines += [f"| {kit.name} | {kit.version()} | {kit.packages or 'in .venv'} |" for kit in kits.values()]
    if notes:
        lines += ["", "## What toolkits can't do", ""]
        lines += [f"- {name}, {', '.join(cases)}: {words}" for (name, words), cases in notes.items()]
    lines += [f"- {KITS[key].name} was not tried: {why}." for key, why in missing.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Returns 1 if a case went wrong."""
    parser = argparse.ArgumentParser(prog="toolkits/run", description=__doc__)
    parser.add_argument("kits", nargs="*", help=f"default: all of {', '.join(KITS)}", metavar="KIT")
    parser.add_argument("--install", action="store_true", help="apt-get install what they need, first")
    parser.add_argument("--write", action="store_true", help="write docs/toolkits.md")
    asked = parser.parse_args()
    if unknown := [name for name in asked.kits if name not in KITS]:
        parser.error(f"there is no toolkit {unknown[0]}; there are: {', '.join(KITS)}")
    chosen = {name: kit for name, kit in KITS.items() if not asked.kits or name in asked.kits}
    if asked.install:
        packages = sorted({p for kit in chosen.values() for p in kit.packages.split()})
        if packages:
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=True)
    results: dict[str, dict[str, Verdict]] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        services = Path(folder) / "services"
        shutil.copytree(HERE.parent / "app" / "services", services)
        shutil.copy(HERE / "services" / "toolkit.py", services)
        lab = Lab(Path(folder) / "jobs", services, LABWAITER_QUIET="1")
        lab.supervise()
        web = Web(lab)
        shipped = [described(one, web.wsdl(name)) for name, one in lab.services.items() if name != "Toolkit"]
        try:
            for name, kit in chosen.items():
                try:
                    results[name] = tried(kit, web.wsdl("Toolkit"))
                    results[name][SHIPPED] = takes(kit, shipped)
                except NotHere as why:
                    missing[name] = str(why)
                    print(f"{kit.name}: left out, {why}")
                    continue
                for case, verdict in results[name].items():
                    print(f"{kit.name}: {case}: {verdict.mark} {verdict.words}".rstrip())
        finally:
            web.close()
            lab.close()
    if asked.write:
        TABLE.write_text(written(results, missing), encoding="utf-8")
    return int(any(v.mark == "WRONG" for cases in results.values() for v in cases.values()))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
