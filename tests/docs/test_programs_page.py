"""docs/programs.md, word by word. test_blocks.py runs its service for a stranger's program."""

from here import ROOT

PAGE = (ROOT / "docs" / "programs.md").read_text()


def test_every_habit_of_a_program_is_on_the_page() -> None:
    from labwaiter.model.program import Program

    for habit in Program.__dataclass_fields__:
        assert habit in ("program", "arguments") or f"`{habit}=" in PAGE, habit
