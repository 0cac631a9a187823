"""The style of a report's page: light and dark, from phones to wide screens, and on paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d1f23; --soft: #5c6068; --line: #dfe1e5; --page: #fbfbfa; --card: #ffffff;
  --accent: #0a5a8f; --best: #e4f0f7; --warn: #8a4b00; --s0: #0072b2; --s1: #c04f00; --s2: #00795b; --s3: #a8467f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --soft: #a0a4ab; --line: #3a3d42; --page: #17181a;
  --card: #1f2124; --accent: #7fc1ec; --best: #1d3848;
  --warn: #f0b35e; --s0: #6db9ee; --s1: #f59a5b; --s2: #4fcaa3; --s3: #e59cc6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.55; font-size: 1rem;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif; }
main { max-width: 84rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 0.8rem; text-wrap: balance; }
h2 { font-size: 1.25rem; letter-spacing: -0.005em; margin: 3rem 0 0.9rem; }
p { max-width: 44rem; margin: 0 0 0.8rem; overflow-wrap: anywhere; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.2rem; margin: 1.2rem 0 0;
  padding: 0.9rem 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: 0.9rem; }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; background: linear-gradient(to left, var(--page) 40%, transparent) right / 2.5rem 100%
  no-repeat local, linear-gradient(to left, color-mix(in srgb, var(--ink) 25%, transparent), transparent) right / 0.9rem
  100% no-repeat scroll; } /* a shadow where more is to the right */
table { border-collapse: separate; border-spacing: 0;
  font-variant-numeric: tabular-nums; font-size: 0.9rem; min-width: 60%; }
th, td { padding: 0.42rem 0.6rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom;
  white-space: normal; }
th.number, td.number { text-align: right; }
th:first-child, td:first-child { padding-left: 0.3rem; position: sticky; left: 0; background: var(--page); }
tbody th { color: inherit; font-weight: 400; white-space: nowrap; border-bottom: 1px solid var(--line); }
tbody tr:hover { background: color-mix(in srgb, var(--line) 30%, transparent); }
td.best { background: var(--best); font-weight: 700; }
figure { margin: 0 0 2rem; }
figure.plot img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: 0.6rem; }
figcaption { color: var(--soft); font-size: 0.9rem; max-width: 44rem; margin: 0.5rem 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1.4rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
article img, article .absent { display: block; width: 100%; height: 14rem; object-fit: contain;
  background: color-mix(in srgb, var(--line) 45%, var(--card)); }
article .absent { display: grid; place-items: center; color: var(--soft); font-size: 0.85rem; padding: 1rem; }
article .words { padding: 0.9rem 1rem 1rem; font-size: 0.92rem; line-height: 1.42; overflow-wrap: anywhere; }
article .id { color: var(--soft); font-size: 0.78rem; font-weight: 400; margin: 0 0 0.4rem; display: flex;
  justify-content: space-between; gap: 0.8rem; }
article .difference { color: var(--ink); font-weight: 700; font-size: 0.9rem; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
article ul { list-style: none; margin: 0 0 0.7rem; padding: 0; color: var(--soft); font-style: italic; }
article li { margin: 0 0 0.2rem; }
article dl { margin: 0; }
article dt { font-size: 0.78rem; font-weight: 600; color: var(--accent); margin-top: 0.5rem; }
article .score { color: var(--soft); font-weight: 400; font-variant-numeric: tabular-nums; }
article dd { margin: 0; }
article .chosen { border-left: 3px solid var(--accent); padding-left: 0.6rem; margin-left: -0.8rem; }
.controls { display: flex; flex-wrap: wrap; gap: 0.7rem 1.2rem; align-items: end; margin: 0 0 1.2rem;
  padding: 0.9rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.controls[hidden] { display: none; }
.controls label { display: grid; gap: 0.2rem; font-size: 0.8rem; color: var(--soft); }
.controls label.tick { grid-auto-flow: column; justify-content: start; align-items: center; gap: 0.5rem;
  font-size: 0.92rem; min-height: 2.4rem; color: var(--ink); }
.controls select { font: inherit; font-size: 0.92rem; color: var(--ink); background: var(--page); min-height: 2.4rem;
  padding: 0.2rem 0.5rem; border: 1px solid var(--soft); border-radius: 6px; max-width: 100%; }
.controls input { width: 1.1rem; height: 1.1rem; accent-color: var(--accent); }
.controls output { flex-basis: 100%; font-size: 0.9rem; color: var(--soft); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1.3rem; list-style: none; padding: 0; margin: 1.2rem 0 0; }
nav a { display: inline-block; padding: 0.3rem 0; }
.forest { display: block; max-width: 46rem; overflow: visible; font-size: 13px; font-variant-numeric: tabular-nums; }
.forest text { fill: var(--ink); }
.forest .label { font-weight: 600; paint-order: stroke; stroke: var(--page); stroke-width: 5px; }
.forest .tick { fill: var(--soft); font-size: 12px; text-anchor: middle; }
.forest .figure { text-anchor: end; font-size: 12px; fill: var(--soft); }
.forest .rule { stroke: var(--line); }
.forest .level { stroke: var(--soft); stroke-dasharray: 4 3; stroke-width: 1.5; }
.interval { stroke-width: 2.5; stroke-linecap: round; }
.point { stroke-width: 1; }
.s0 { stroke: none; fill: var(--s0); }
.s0 line { stroke: var(--s0); }
.s1 { stroke: none; fill: var(--s1); }
.s1 line { stroke: var(--s1); }
.s2 { stroke: none; fill: var(--s2); }
.s2 line { stroke: var(--s2); }
.s3 { stroke: none; fill: var(--s3); }
.s3 line { stroke: var(--s3); }
ul.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.3rem; list-style: none; padding: 0; margin: 0 0 0.6rem;
  font-size: 0.9rem; }
ul.legend svg { vertical-align: -2px; margin-right: 0.4rem; }
ul.warnings, details.warnings { border-left: 3px solid var(--warn); padding: 0.2rem 0 0.2rem 1.6rem; margin: 0;
  font-size: 0.94rem; max-width: 60rem; overflow-wrap: anywhere; }
ul.warnings li::marker { color: var(--warn); }
details.warnings { padding-left: 0.9rem; }
details ul { padding-left: 1.2rem; }
summary { cursor: pointer; padding: 0.3rem 0; color: var(--accent); }
pre { overflow: auto; max-height: 32rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem; font-size: 0.82rem; line-height: 1.45; }
.empty { color: var(--soft); }
ul.notes { max-width: 44rem; padding-left: 1.2rem; color: var(--soft); font-size: 0.92rem; }
@media (max-width: 40rem) { main { padding: 1.6rem 1rem 3rem; } h1 { font-size: 1.55rem; }
  dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: 0.5rem; }
  table { font-size: 0.84rem; } th, td { padding: 0.36rem 0.55rem; } nav ul { gap: 0 1.1rem; }
  .controls { display: grid; grid-template-columns: 1fr 1fr; } .controls select { width: 100%; min-width: 0; }
  .controls label:nth-of-type(n + 3) { grid-column: 1 / -1; }
  .controls output { grid-column: 1 / -1; }
  figure.plot img { max-width: none; width: 38rem; } }
@media print { body { background: #fff; } .controls { display: none; } article, figure, tr { break-inside: avoid; } }
"""
