/* The time left on a student's page, counted by the browser's own clock of durations: a wall clock that is wrong, or is
   set, changes nothing. What the page shows and asks besides is page.js's. */
"use strict";
(() => {
  const LATE = 60; // s
  const ahead = Number(document.body.dataset.now) - performance.now() / 1000;
  function count() {
    for (const each of document.querySelectorAll("time[data-until]")) {
      const left = Math.max(0, Math.ceil(Number(each.dataset.until) - ahead - performance.now() / 1000));
      const hours = Math.floor(left / 3600), minutes = Math.floor(left / 60) % 60, two = (n) => String(n).padStart(2, "0");
      const words = hours ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
      if (each.textContent !== words) each.textContent = words;
      each.parentElement.classList.toggle("late", left <= LATE);
    }
    const said = document.getElementById("said"); // what came of an act is old news after the end
    if (said && document.querySelector(".lab-end")) said.hidden = true;
    const plot = document.getElementById("plot"), words = document.querySelector("[data-until-plotted]");
    if (plot && words) words.hidden = !plot.hidden;
  }
  count();
  setInterval(count, 250);
  // what is put in the page's place says the time anew: it is counted before anybody sees it
  new MutationObserver(count).observe(document.getElementById("live"), { childList: true, subtree: true });
})();
