"""The style sheet of the page, written into it so that the file needs nothing else."""

CSS = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2328; --faint: #5f6773;
  --line: #dfe3e8; --over: #f6f8fa; --win: #e3f3e6; --differs: #fbe3df; --mark: #fff3cd; }
@media (prefers-color-scheme: dark) { :root { --paper: #16191d; --ink: #dde1e6; --faint: #9aa3ae;
  --line: #363c44; --over: #20252b; --win: #1d3a26; --differs: #48231e; --mark: #463a12; } }
body { background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", sans-serif;
  margin: 2.5rem auto; max-width: 1240px; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { border-bottom: 1px solid var(--line); font-size: 1.2rem; margin: 2.5rem 0 1rem;
  padding-bottom: .25rem; }
.lead p { font-size: 1.05rem; margin: .25rem 0; }
.note { color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem; text-align: right; white-space: nowrap; }
thead th { font-weight: 600; vertical-align: bottom; }
thead th[colspan] { text-align: center; }
thead tr:last-child th { border-bottom: 1px solid var(--faint); }
tbody tr:hover td { background: var(--over); }
tbody td, tbody th { border-bottom: 1px solid var(--line); }
td.edge { border-left: 1px solid var(--line); }
.win, .agrees, tbody tr:hover td.win { background: var(--win); }
.differs { background: var(--differs); }
.faint, .not { color: var(--faint); }
.star { display: inline-block; width: .7em; }
table.pairs th, table.pairs td { text-align: left; white-space: normal; vertical-align: top; }
table.pairs th { font-weight: 500; width: 15rem; }
table.pairs td { overflow-wrap: anywhere; }
table.wordy th { text-align: left; }
table.wordy td { max-width: 24rem; text-align: left; vertical-align: top; white-space: normal; }
.mark { background: var(--mark); border-radius: 3px; padding: .35rem .6rem; }
figure { margin: 1.75rem 0; }
figure img { background: #fff; display: block; height: auto; max-width: 100%; }
figcaption, .caption { color: var(--faint); font-size: 13px; margin: 0 0 .4rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; font-weight: 600; }
h3 { font-size: 14px; margin: 1rem 0 .25rem; }
@media print { details > * { display: block; } body { margin: 0; max-width: none; } }
"""
