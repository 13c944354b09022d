
"use strict";
// The words of a mark are shown where it is pointed at or focused; arrow keys go from mark to mark of one chart.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // a screen reader has the mark's own label
  document.body.append(tip);

  const show = (mark) => {
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const at = mark.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), width - own.width - 8);
    const above = at.top - own.height - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 4 ? above : at.bottom + 8) + scrollY}px`;
  };
  const hide = () => { tip.hidden = true; };

  for (const chart of document.querySelectorAll("figure.chart")) {
    const marks = [...chart.querySelectorAll(".mark")];
    const go = (to) => {
      for (const mark of marks) mark.tabIndex = mark === to ? 0 : -1;
      to.focus();
    };
    marks.forEach((mark, number) => {
      const title = mark.querySelector("title");
      mark.setAttribute("aria-label", title.textContent);
      title.remove(); // or the browser would show it a second time
      mark.tabIndex = number ? -1 : 0; // one stop for the Tab key in each chart
      mark.addEventListener("pointerenter", () => show(mark));
      mark.addEventListener("pointerleave", hide);
      mark.addEventListener("focus", () => show(mark));
      mark.addEventListener("blur", hide);
      mark.addEventListener("keydown", (event) => {
        const next = { ArrowRight: number + 1, ArrowDown: number + 1, ArrowLeft: number - 1, ArrowUp: number - 1,
          Home: 0, End: marks.length - 1 }[event.key];
        if (event.key === "Escape") hide();
        if (next === undefined || !marks[next]) return;
        event.preventDefault();
        go(marks[next]);
      });
    });
  }

  // Paper cannot be hovered: the tables are printed, and closed again where they were.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open], .more)")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
})();
