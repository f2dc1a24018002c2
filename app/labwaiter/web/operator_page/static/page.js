/* What an open page does by itself: it asks for its content every two seconds, tells when nobody answers, and counts
   times on. All of it works without this file, but for that. No text of anybody's becomes anything but text here. */
"use strict";
(() => {
  const EVERY = 2000, PATIENCE = 3500, LOST = 4200, ONCE_LOST = 1500; // ms
  const body = document.body, live = document.getElementById("live"), lost = document.getElementById("lost");
  let tag = "", release = body.dataset.mark || "", good = performance.now(), asking = false, timer = 0;

  // a form that is shown once more, since something in it was wrong, stands on the page that it came from
  if (body.dataset.address) history.replaceState(null, "", body.dataset.address);

  // -- times ----------------------------------------------------------------------------------
  const lang = document.documentElement.lang, tongue = lang === "en" ? "sv-SE" : lang; // which writes 2026-11-24 11:30:05
  const two = "2-digit";
  const local = new Intl.DateTimeFormat(tongue, { year: "numeric", month: two, day: two, hour: two, minute: two, second: two });
  let ahead = 0; // s that the lab's clock is before this one's
  const [d, h, min, s] = body.dataset.units.split(" ");
  const units = [[86400, d, 3600, h], [3600, h, 60, min], [60, min, 1, s]];
  function span(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    for (const [size, unit, smaller, name] of units) {
      if (whole >= size) {
        const rest = Math.floor((whole % size) / smaller);
        return `${Math.floor(whole / size)} ${unit}` + (rest ? ` ${rest} ${name}` : "");
      }
    }
    return `${whole} ${s}`;
  }
  function times() {
    const now = Date.now() / 1000 + ahead;
    for (const each of document.querySelectorAll("time[data-since]")) {
      const words = span(now - Number(each.dataset.since));
      if (each.textContent !== words) each.textContent = words;
    }
    for (const each of document.querySelectorAll("time[data-at]")) {
      const at = new Date(1000 * Number(each.dataset.at)), words = local.format(at);
      if (each.textContent !== words) {
        each.textContent = words;
        each.dateTime = at.toISOString();
      }
    }
  }

  // -- the page's content ---------------------------------------------------------------------
  const morphing = {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeNodeMorphed: (old) => !(old.nodeType === 1 && old.hasAttribute("data-still")),
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
    },
  };
  const over = () => Boolean(live.querySelector("[data-over]")); // nothing of it changes any more
  async function ask() {
    // what is in hand here stays so while this page asks, looked at or not
    if (asking || over() || (document.hidden && !live.querySelector("[data-holds]"))) return;
    asking = true;
    const address = new URL(location.href);
    address.searchParams.set("live", "1");
    address.hash = "";
    try {
      const answer = await fetch(address, {
        headers: tag ? { "If-None-Match": tag } : {},
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.status >= 500 && answer.status !== 503) throw new Error("not now");
      const told = answer.headers.get("X-Labwaiter") || "";
      if (!told) throw new Error("not the lab"); // a proxy's own page
      release = release || told; // a template of somebody's own may have no mark
      if (told !== release && !writing()) { location.reload(); return; }
      const date = Date.parse(answer.headers.get("Date") || "");
      if (date && Math.abs(date - Date.now()) > 2000) ahead = (date - Date.now()) / 1000;
      if (answer.status === 200) {
        const html = await answer.text();
        tag = answer.headers.get("ETag") || "";
        const place = document.createElement("div");
        place.innerHTML = html;
        for (const kept of place.querySelectorAll("details[id]")) {
          const old = document.getElementById(kept.id);
          if (old) kept.open = old.open;
        }
        Idiomorph.morph(live, place.innerHTML, morphing);
        ready();
      } else if (answer.status === 404 || answer.status === 403) {
        location.reload();
        return;
      }
      heard();
    } catch (error) {
      look();
    } finally {
      asking = false;
      clearTimeout(timer);
      if (!over()) timer = setTimeout(ask, lost.hidden ? EVERY : ONCE_LOST);
    }
  }
  function writing() {
    const at = document.activeElement;
    return at && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName);
  }
  function heard() {
    good = performance.now();
    if (!lost.hidden) {
      lost.hidden = true;
      body.classList.remove("old");
    }
  }
  function look() {
    if (!document.hidden && lost.hidden && !over() && performance.now() - good > LOST) {
      lost.hidden = false;
      body.classList.add("old");
    }
  }

  // what came of an act on an instrument is told as long as that stands as it did then: somebody may have stopped it
  const band = document.querySelector(".band[data-of]");
  let stood = null;
  function outdate() {
    const chip = band && band.isConnected && document.querySelector(`#${CSS.escape(band.dataset.of)} .chip`);
    if (!chip) return;
    if (stood === null) stood = chip.textContent;
    else if (chip.textContent !== stood) band.remove();
  }

  // -- parts of a page ------------------------------------------------------------------------
  function ready() {
    times();
    outdate();
    for (const button of document.querySelectorAll("button.copy[hidden]")) button.hidden = !navigator.clipboard;
    plot();
    status();
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const words = button.textContent;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = body.dataset.copied;
    setTimeout(() => { button.textContent = words; }, 1500);
  });
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    // after the form was read: what is switched off is not sent
    setTimeout(() => {
      for (const button of event.target.querySelectorAll("button")) {
        button.disabled = true;
        button.textContent = body.dataset.working;
      }
    });
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // the status page: in a frame that has no origin, and so reaches nothing of this page
  let shown = 0;
  function status() {
    const part = document.getElementById("status"), frame = part && part.querySelector("iframe");
    if (!frame || !part.open || performance.now() - shown < 4000 && shown) return;
    shown = performance.now();
    frame.src = frame.dataset.status;
  }
  const part = document.getElementById("status");
  if (part) part.addEventListener("toggle", () => { shown = 0; status(); });

  // the plot of what an execution records
  let drawn = null, plotTag = "", plotting = false;
  async function plot() {
    const place = document.getElementById("plot");
    if (!place || plotting || typeof uPlot === "undefined") return;
    plotting = true;
    try {
      const answer = await fetch(place.dataset.values, {
        headers: plotTag ? { "If-None-Match": plotTag } : {}, cache: "no-store", signal: AbortSignal.timeout(PATIENCE),
      });
      if (answer.status !== 200) return;
      plotTag = answer.headers.get("ETag") || "";
      draw(place, await answer.json());
    } catch (error) { /* the page itself tells that the connection is lost */ } finally { plotting = false; }
  }
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  function draw(place, { names, columns, low, high, why, lang: whose }) {
    const reason = place.querySelector(".why-none");
    if (reason) reason.remove();
    if (why) { // what was drawn before stays
      const words = Object.assign(document.createElement("p"), { className: "why-none soft", textContent: why });
      if (whose) words.lang = whose;
      place.prepend(words);
      return;
    }
    const time = place.dataset.time; // the first column has Unix times: what monitored instruments said
    const numbers = names.map((_, at) => columns[at].some((value) => value !== null));
    if (!columns.length || !columns[0].length) { place.hidden = true; return; }
    place.hidden = false;
    // against its first column where that only grows or only falls: a time, a voltage that is swept; else by number
    const first = columns[0], steps = first.map((value, at) => (at ? value - first[at - 1] : 0));
    const grows = numbers[0] && steps.every((step) => step >= 0), falls = numbers[0] && steps.every((step) => step <= 0);
    const against = Boolean(time) || names.length > 1 && first[0] !== first[first.length - 1] && (grows || falls);
    let rows = columns.map((column) => (falls && !grows && against ? [...column].reverse() : column));
    const shownNames = names.filter((_, at) => numbers[at] && (at || !against));
    const data = [against ? rows[0] : first.map((_, at) => at + 1), ...rows.filter((_, at) => numbers[at] && (at || !against))];
    const bands = [];
    if (time) {
      // a reading's lowest and highest are two series more, with a band between them
      shownNames.forEach((name) => {
        const at = names.indexOf(name) - 1;
        bands.push({ series: [data.length + 1, data.length] });
        data.push(low[at], high[at]);
      });
    }
    const key = JSON.stringify([against, names]);
    if (drawn && drawn.key === key) { drawn.chart.setData(data); return; }
    if (drawn) drawn.chart.destroy();
    const tones = ["--runs", "--bad", "--good", "--stops", "--waits", "--ended"];
    const digits = new Intl.NumberFormat(lang, { maximumSignificantDigits: 6, useGrouping: false });
    const value = (_, shown) => (shown === null || shown === undefined ? "–" : digits.format(shown));
    const axis = { values: (_, shown) => shown.map((each) => (each === null ? "" : digits.format(each))), stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { stroke: () => colour("--line") }, size: 42 };
    const scales = { x: { time: Boolean(time) } };
    const along = against ? names[0].replace(/^time(?= \/ )/, body.dataset.time) : "#";
    const series = [{ label: along, value }];
    const axes = [{ ...axis, label: along, labelSize: 22 }];
    if (time) {
      const two = (number) => String(number).padStart(2, "0");
      const days = new Intl.DateTimeFormat(lang, { month: "2-digit", day: "2-digit" });
      const day = (at) => lang === "en" ? `${two(at.getMonth() + 1)}-${two(at.getDate())}` : days.format(at), clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
      delete axes[0].label;
      axes[0].values = (_, splits) => splits.map((split) => { const at = new Date(1000 * split); return time === "month" || clock(at) === "00:00" ? day(at) : clock(at); });
      series[0].label = body.dataset.time;
      series[0].value = (_, value) => (value === null ? "–" : local.format(new Date(1000 * value)));
    }
    shownNames.forEach((name, at) => {
      const unit = name.includes(" / ") ? name.split(" / ").pop() : name, scale = "y" + unit;
      if (!(scale in scales)) {
        scales[scale] = {};
        // a unit has an axis; one that is a single line's has its colour
        const alone = shownNames.filter((other) => (other.includes(" / ") ? other.split(" / ").pop() : other) === unit).length === 1;
        const tone = axes.length > 1 && alone ? tones[at % tones.length] : "--soft";
        if (axes.length < 5) axes.push({ ...axis, scale, stroke: () => colour(tone), label: shownNames.length > 1 && unit !== name ? unit : name, labelSize: 22, side: axes.length === 1 ? 3 : 1, grid: axes.length === 1 ? axis.grid : { show: false } });
      }
      series.push({ label: name, scale, value, stroke: () => colour(tones[at % tones.length]), width: 2, points: { show: data[0].length < 60 } });
    });
    if (time) {
      shownNames.forEach((name, at) => {
        const tone = tones[at % tones.length], scale = series[at + 1].scale;
        for (const end of ["low", "high"]) series.push({ label: `${name} ${end}`, class: "u-band", scale, width: 0, points: { show: false } });
        bands[at].fill = () => `${colour(tone)}33`;
      });
    }
    const width = () => Math.max(240, place.clientWidth - 20);
    const chart = new uPlot({ width: width(), height: 280, scales, series, axes, bands, cursor: { drag: { x: true } } }, data, place);
    drawn = { key, chart };
    addEventListener("resize", () => { if (drawn.chart === chart) chart.setSize({ width: width(), height: 280 }); });
  }

  ready();
  setInterval(times, 1000);
  if (body.dataset.live.trim()) {
    setInterval(look, 500);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { good = performance.now(); ask(); } });
    timer = setTimeout(ask, 300);
  }
})();
