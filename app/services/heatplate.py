"""HeatPlate: a Python function as a service. It computes how a plate warms from its edges."""

from typing import Annotated, Literal

from labwaiter import Job, Outputs, Range, Unit, service

CELLS = 31  # along a side; odd, so that one cell is the centre
START = 20.0  # °C of the plate in the beginning
# thermal diffusivity in m²/s at 20 °C: Incropera & DeWitt, Fundamentals of Heat and Mass Transfer,
# 6th ed., tables A.1 and A.3 (AISI 1010 steel, pure copper, plate glass)
DIFFUSIVITY = {"steel": 1.88e-5, "copper": 1.17e-4, "glass": 7.5e-7}
NEAR = 0.01  # the centre has settled when this part of its way is left

Plate = list[list[float]]


class Warmed(Outputs):
    centre: Annotated[float, Unit("°C")]
    settled: Annotated[float, Unit("s")]


@service("HeatPlate", namespace="http://labwaiter.example/heatplate/", limit=600)
def startHeatPlate(
    job: Job,
    edge: Annotated[float, Range(-50, 1000, "°C")] = 100.0,
    material: Literal["steel", "copper", "glass"] = "steel",
    side: Annotated[float, Range(0.01, 2, "m")] = 0.2,
    duration: Annotated[float, Range(1, 300, "s")] = 10.0,
) -> Warmed:
    """How warm does the middle of a plate get whose edges are heated?

    The simulated time until the centre has settled is shown within `duration` seconds of real
    time. Messages: EDGE 300 changes the edges' temperature, HOW tells the centre's.
    """
    step = longest_step(side, DIFFUSIVITY[material])
    # the slowest part of the solution decays with 2·(π/side)²·diffusivity (Carslaw & Jaeger, 1959, § 5.6)
    steps = 1 + int(settling_time(side, DIFFUSIVITY[material]) / step)
    plate = [[START] * CELLS for _ in range(CELLS)]
    set_edge(plate, edge)
    job.units(centre="°C", time="s", edge="°C")
    settled, done = 0.0, 0
    for elapsed in job.every(0.1, lasting=duration):
        for message in job.messages():
            edge, reply = obey(message, edge, plate)
            set_edge(plate, edge)
            job.reply(message, reply)
        due = round(steps * elapsed / duration)
        while done < due:
            plate, done = advance(plate), done + 1
            if not settled and abs(edge - centre(plate)) <= NEAR * abs(edge - START):
                settled = done * step
        job.progress(elapsed / duration, f"{done * step:.0f} s simulated, {material}")
        job.record(centre=round(centre(plate), 2), edge=edge, time=round(done * step, 1))
        job.write("plate.svg", picture(plate, min(START, edge), max(START, edge)))
        job.picture("plate.svg", f"The plate after {done * step:.0f} s")
    return Warmed(centre=centre(plate), settled=settled or done * step)


def longest_step(side: float, diffusivity: float) -> float:
    """The time step in s that keeps the explicit scheme stable: Δx² / (4·diffusivity) in two dimensions."""
    return (side / (CELLS - 1)) ** 2 / (4 * diffusivity)


def settling_time(side: float, diffusivity: float) -> float:
    """Seconds until the centre has gone all but NEAR of its way, and a little more.

    From the first term of the series for a square: 16/π² · exp(−2·(π/side)²·diffusivity·t).
    """
    from math import log, pi

    return 1.1 * log(16 / pi**2 / NEAR) / (2 * (pi / side) ** 2 * diffusivity)


def advance(plate: Plate) -> Plate:
    """The plate one longest step later: each inner cell becomes the mean of its four neighbours.

    That is the explicit (FTCS) scheme for the heat equation at its limit of stability.
    """
    inner = [
        [row[0]] + [(above[i] + below[i] + row[i - 1] + row[i + 1]) / 4 for i in range(1, CELLS - 1)] + [row[-1]]
        for above, row, below in zip(plate, plate[1:], plate[2:], strict=False)
    ]
    return [plate[0], *inner, plate[-1]]


def set_edge(plate: Plate, temperature: float) -> None:
    """Hold the four edges at a temperature in °C."""
    plate[0], plate[-1] = [temperature] * CELLS, [temperature] * CELLS
    for row in plate:
        row[0] = row[-1] = temperature


def centre(plate: Plate) -> float:
    """The temperature of the middle in °C."""
    return plate[CELLS // 2][CELLS // 2]


def obey(message: str, edge: float, plate: Plate) -> tuple[float, str]:
    """What a message changes: the edges' temperature from now on, and the reply."""
    word, _, rest = message.strip().partition(" ")
    if word.upper() == "HOW":
        return edge, f"the centre has {centre(plate):.1f} °C"
    if word.upper() == "EDGE":
        try:
            wanted = float(rest)
        except ValueError:
            wanted = float("nan")
        if -50 <= wanted <= 1000:
            return wanted, f"the edges have {wanted:g} °C now"
        return edge, "EDGE needs a temperature between -50 and 1000 °C, e.g. EDGE 300"
    return edge, "I understand EDGE <temperature in °C> and HOW"


def picture(plate: Plate, low: float, high: float) -> str:
    """The plate as an SVG with its scale: dark is cold, bright is hot."""
    size = 8
    cells = []
    for y, row in enumerate(plate):
        x = 0
        while x < CELLS:  # one rectangle for neighbours of one colour
            colour, begin = shade(row[x], low, high), x
            while x < CELLS and shade(row[x], low, high) == colour:
                x += 1
            cells.append(
                f'<rect x="{begin * size}" y="{y * size}" width="{(x - begin) * size}" height="{size}"'
                f' fill="{colour}"/>'
            )
    width, scale = CELLS * size, []
    for i in range(31):
        colour = shade(low + (high - low) * (30 - i) / 30, low, high)
        scale.append(f'<rect x="{width + 16}" y="{i * size}" width="16" height="{size}" fill="{colour}"/>')
    text = 'font-family="sans-serif" font-size="13" fill="#808080"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 100} {width}" width="{width + 100}"'
        f' height="{width}" shape-rendering="crispEdges">{"".join(cells)}{"".join(scale)}'
        f'<text x="{width + 38}" y="12" {text}>{high:.0f} °C</text>'
        f'<text x="{width + 38}" y="{width - 4}" {text}>{low:.0f} °C</text></svg>'
    )


# matplotlib's colour map "inferno" at seven points (CC0)
INFERNO = ((0, 0, 4), (51, 10, 95), (120, 28, 109), (187, 55, 84), (237, 105, 37), (251, 182, 26), (252, 255, 164))


def shade(temperature: float, low: float, high: float) -> str:
    """A colour between cold (dark) and hot (bright), in 32 steps."""
    part = 0.0 if high == low else min(1.0, max(0.0, (temperature - low) / (high - low)))
    at = round(part * 31) / 31 * (len(INFERNO) - 1)
    first = min(int(at), len(INFERNO) - 2)
    mixed = (round(a + (b - a) * (at - first)) for a, b in zip(INFERNO[first], INFERNO[first + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)
