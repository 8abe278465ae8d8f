"use strict";
// Only adds to what is there without it: keys, filter, theme. No network, no library.
(() => {
  const one = (id) => document.getElementById(id);
  const rows = [...document.querySelectorAll(".row")];
  const differing = rows.filter((row) => !row.classList.contains("quiet"));
  const folds = [...document.querySelectorAll("details")];
  const root = document.documentElement;
  const said = one("said");

  // Phrases stand in the page, in its language, with places to fill.
  const told = (id, values) => document.body.dataset[id].replace(/\{(\w+)\}/g, (_, name) => values[name]);

  const kept = (name, value) => {
    try { // a page from disk may have no storage
      if (value === undefined) return localStorage.getItem("inspector-" + name);
      localStorage.setItem("inspector-" + name, value);
    } catch { /* then nothing is remembered */ }
    return null;
  };

  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const paint = (theme) => {
    root.dataset.theme = theme;
    one("theme").textContent = document.body.dataset[theme === "dark" ? "light" : "dark"];
  };
  const turn = () => { paint(dark() ? "light" : "dark"); kept("theme", root.dataset.theme); };

  const shown = (row) => row.offsetParent !== null || row.closest("details:not([open])");
  const open = (row) => {
    for (let at = row.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
  };
  const go = (list, step) => {
    const among = list.filter((row) => !row.hidden && shown(row));
    if (!among.length) return;
    const here = document.activeElement.closest(".row");
    const middle = innerHeight / 3;
    let at = among.indexOf(here);
    if (at < 0) { // from where the reader is: the last row above
      const above = among.filter((row) => (here ? rows.indexOf(row) < rows.indexOf(here)
        : row.getBoundingClientRect().top < middle && row.offsetParent)).length;
      at = step > 0 ? above - 1 : above;
    }
    const row = among[(at + step + among.length) % among.length];
    open(row);
    row.focus({ preventScroll: true });
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    row.scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
    const place = { at: among.indexOf(row) + 1, all: among.length, row: row.getAttribute("aria-label") };
    said.textContent = told("at", place);
  };

  const filter = () => {
    const words = one("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      left += !row.hidden;
      if (words.length && !row.hidden) open(row);
    }
    for (const fold of document.querySelectorAll(".fold")) {
      fold.hidden = words.length > 0 && !fold.querySelector(".row:not([hidden])");
    }
    said.textContent = words.length ? told("left", { n: left }) : "";
  };

  const dim = () => {
    const on = root.classList.toggle("dim");
    one("dim").setAttribute("aria-pressed", on);
  };
  const pin = (row) => row.classList.toggle("pinned");
  const unfold = () => {
    const all = folds.every((fold) => fold.open);
    for (const fold of folds) fold.open = !all;
  };
  const clear = () => {
    one("filter").value = "";
    filter();
    document.querySelectorAll(".pinned").forEach((row) => row.classList.remove("pinned"));
    document.activeElement.blur();
  };

  const keys = {
    n: () => go(differing, 1),
    p: () => go(differing, -1),
    j: () => go(rows, 1),
    k: () => go(rows, -1),
    "/": () => one("filter").focus(),
    d: dim,
    e: unfold,
    t: turn,
    "?": () => one("keys").showModal(),
    Escape: clear,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || one("keys").open) return;
    const typing = event.target.matches("input");
    if (typing && event.key !== "Escape") return;
    if (event.target.matches(".row") && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      pin(event.target);
    } else if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  document.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row && !event.target.closest("a, .panel") && !String(getSelection())) pin(row);
  });
  one("filter").addEventListener("input", filter);
  one("next").addEventListener("click", keys.n);
  one("prev").addEventListener("click", keys.p);
  one("dim").addEventListener("click", dim);
  one("theme").addEventListener("click", turn);
  one("help").addEventListener("click", keys["?"]);
  addEventListener("hashchange", () => {
    const target = one(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches(".row")) { open(target); target.focus(); }
  });
  let closed = []; // paper cannot be unfolded
  addEventListener("beforeprint", () => {
    closed = folds.filter((fold) => !fold.open);
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));

  if (["light", "dark"].includes(kept("theme"))) paint(kept("theme"));
  else one("theme").textContent = document.body.dataset[dark() ? "light" : "dark"]; // and the system may still change its mind
  document.querySelector(".tools").hidden = false;
})();
