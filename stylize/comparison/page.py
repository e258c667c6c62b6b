"""Style sheet and script of the report page. Neither loads anything."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --ink: #23272b; --muted: #5f676e; --line: #dcd9d3; --card: #ffffff; --soft: #f1efea;
  --accent: #0b5c8f; --warn: #8a4b00; --warn-soft: #fbf1e2;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16191c; --ink: #e4e6e8; --muted: #a3abb2; --line: #343a40; --card: #1e2327; --soft: #20262b;
    --accent: #7cbcec; --warn: #f0b561; --warn-soft: #2c241a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 var(--sans); overflow-wrap: anywhere;
}
main, footer { max-width: 49rem; margin: 0 auto; padding: 0 1.25rem; }
p, ul, ol, dl, h2, h3 { max-width: 44rem; }
header { padding: 3.25rem 0 0.5rem; }
h1 { font-size: clamp(1.7rem, 1.2rem + 2.2vw, 2.6rem); line-height: 1.15; letter-spacing: -0.015em; margin: 0 0 1.5rem;
  font-weight: 700; text-wrap: balance; }
h2 { font-size: 1.6rem; line-height: 1.25; letter-spacing: -0.01em; margin: 0 0 0.25rem; text-wrap: balance; }
h3 { font-size: 1rem; margin: 0 0 0.4rem; }
a { color: var(--accent); text-underline-offset: 0.15em; }
section, nav, figure { scroll-margin-top: 1rem; }
.verdict { background: var(--card); border: 1px solid var(--line); border-left: 5px solid var(--accent);
  border-radius: 8px; padding: 1.4rem 1.6rem; }
.verdict h2, nav h2 { font-size: 0.85rem; letter-spacing: 0.06em; text-transform: uppercase; color: var(--muted);
  margin: 0 0 0.6rem; }
.verdict p { margin: 0.6rem 0 0; }
.verdict p.lead { font-size: 1.3rem; line-height: 1.4; font-weight: 600; margin: 0; text-wrap: pretty; }
.notes { background: var(--warn-soft); border-radius: 8px; padding: 1rem 1.25rem; margin: 1.25rem 0;
 }
.notes h3 { color: var(--warn); }
.notes ul { margin: 0; padding-left: 1.1rem; }
.notes li + li { margin-top: 0.3rem; }
nav { padding: 2rem 0 0.5rem; }
nav ol { margin: 0; padding-left: 1.4rem; }
nav li { margin: 0.35rem 0; }
nav li span { color: var(--muted); display: block; font-size: 0.95rem; line-height: 1.4; }
main > section.part { border-top: 1px solid var(--line); margin-top: 2.75rem; padding-top: 2.5rem; }
.question { color: var(--muted); font-size: 1.1rem; margin: 0 0 0.9rem; }
.finding { font-weight: 600; border-left: 3px solid var(--accent); padding-left: 0.9rem; margin: 0 0 1.2rem; }
figure { margin: 2rem 0; }
figcaption { max-width: 44rem; margin: 0 0 0.6rem; font-weight: 600; line-height: 1.45; }
.chart { background: #ffffff; border: 1px solid var(--line); border-radius: 8px; padding: 0.9rem; }
.chart img { display: block; width: 100%; height: auto; margin: 0 auto; }
.pictures { display: grid; gap: 0.9rem; grid-template-columns: repeat(auto-fit, minmax(min(13rem, 47%), 1fr));
  margin: 2rem 0; padding: 0; }
.pictures figure { margin: 0; max-width: 32rem; }
.pictures figcaption { font-weight: 400; font-size: 0.92rem; color: var(--muted); line-height: 1.35;
  margin: 0.4rem 0 0; }
.pictures img { display: block; width: 100%; height: auto; border-radius: 4px; }
button.enlarge { display: block; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in; font: inherit;
  border-radius: 4px; }
dialog { border: 0; padding: 0; max-width: 96vw; max-height: 96vh; background: #000; overflow: auto; }
dialog::backdrop { background: rgb(0 0 0 / 0.8); }
dialog img { display: block; max-width: 96vw; max-height: 96vh; cursor: zoom-out; }
.slider .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0.6rem; position: relative; }
.slider .pair > div { position: relative; }
.slider img { display: block; width: 100%; height: auto; border-radius: 4px; }
.slider .label { position: absolute; bottom: 0.5rem; left: 0.5rem; max-width: 45%; background: rgb(0 0 0 / 0.62);
  color: #fff; font-size: 0.8rem; line-height: 1.3; padding: 0.15rem 0.5rem; border-radius: 3px; }
.slider input, .slider .handle { display: none; }
@media screen {
  .js .slider .pair { display: block; cursor: ew-resize; touch-action: pan-y; overflow: hidden; border-radius: 4px;
    user-select: none; -webkit-user-select: none; }
  .js .slider .after .label { left: auto; right: 0.5rem; }
  .js .slider .before { position: absolute; inset: 0; z-index: 1;
    clip-path: inset(0 calc(100% - var(--cut, 50%)) 0 0); }
  .js .slider .before img { height: 100%; object-fit: fill; }
  .js .slider .handle { display: block; position: absolute; z-index: 2; top: 0; bottom: 0; left: var(--cut, 50%);
    width: 2px; margin-left: -1px; background: #fff; box-shadow: 0 0 4px rgb(0 0 0 / 0.6); pointer-events: none; }
  .js .slider .handle::after { content: "\\2194"; position: absolute; top: 50%; left: 50%; width: 2.1rem;
    height: 2.1rem; transform: translate(-50%, -50%); border-radius: 50%; background: #fff; color: #23272b;
    display: grid; place-items: center; font-size: 1.1rem; line-height: 1; box-shadow: 0 1px 5px rgb(0 0 0 / 0.45); }
  .js .slider input { display: block; width: 100%; margin: 0.7rem 0 0; accent-color: var(--accent); }
}
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.scroll { overflow-x: auto; margin: 0; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.5rem 0.8rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; background: var(--soft); vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
footer { padding-bottom: 4rem; }
footer > section { border-top: 1px solid var(--line); margin-top: 2.75rem; padding-top: 2.5rem; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: 0.4rem 1.25rem; margin: 1rem 0; }
dt { color: var(--muted); }
dd { margin: 0; min-width: 0; }
pre { margin: 0; white-space: pre-wrap; background: var(--soft); border-radius: 6px; padding: 0.6rem 0.8rem; }
code, pre { font-family: var(--mono); font-size: 0.9em; }
pre code { font-size: 1em; }
@media (max-width: 36rem) {
  body { font-size: 1rem; }
  main, footer { padding: 0 1rem; }
  header { padding-top: 1.75rem; }
  .verdict { padding: 1.1rem 1.1rem; }
  .verdict p.lead { font-size: 1.15rem; }
  .chart { padding: 0.4rem; margin-left: -0.5rem; margin-right: -0.5rem; }
  .pictures { gap: 0.6rem; }
  th, td { padding: 0.45rem 0.6rem; }
  dl { grid-template-columns: 1fr; gap: 0.1rem; }
  dd { margin-bottom: 0.7rem; }
}
@page { margin: 16mm; }
@media print {
  :root { --paper: #fff; --ink: #000; --muted: #444; --line: #bbb; --card: #fff; --soft: #f4f4f4; --accent: #0b5c8f;
    --warn: #6b3a00; --warn-soft: #fff; color-scheme: light; }
  body { font-size: 10.5pt; }
  main, footer { max-width: none; padding: 0; }
  header { padding-top: 0; }
  nav { display: none; }
  .notes { border: 1px solid var(--line); }
  h2, h3, figcaption:first-child, .question, .finding { break-after: avoid; }
  figure, tr, .verdict, .notes, .finding { break-inside: avoid; }
  .slider .label { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .chart img { max-width: 34rem; }
  .scroll { overflow: visible; }
}
"""

SCRIPT = """
(function () {
  "use strict";
  document.documentElement.classList.add("js");
  document.querySelectorAll(".slider").forEach(function (slider) {
    var pair = slider.querySelector(".pair"), range = slider.querySelector("input");
    function show() { pair.style.setProperty("--cut", range.value + "%"); }
    function follow(event) {
      var box = pair.getBoundingClientRect();
      range.value = 100 * (event.clientX - box.left) / box.width;
      show();
    }
    range.addEventListener("input", show);
    pair.addEventListener("pointerdown", function (event) {
      if (event.button) { return; }
      pair.setPointerCapture(event.pointerId);
      follow(event);
      event.preventDefault();
      range.focus({ preventScroll: true });
    });
    pair.addEventListener("pointermove", function (event) {
      if (pair.hasPointerCapture(event.pointerId)) { follow(event); }
    });
    show();
  });
  var dialog = document.querySelector("dialog");
  if (dialog && dialog.showModal) {
    var large = dialog.querySelector("img");
    document.querySelectorAll("button.enlarge").forEach(function (button) {
      button.addEventListener("click", function () {
        var small = button.querySelector("img");
        large.src = small.src;
        large.alt = small.alt;
        dialog.showModal();
      });
    });
    dialog.addEventListener("click", function () { dialog.close(); });
  }
})();
"""
