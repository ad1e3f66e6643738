"""The style sheet. Every rule is scoped under ``.sz0``, so a fragment can stand in someone else's page.

Shapes carry presentation attributes that need no style sheet (``currentColor``); the rules here only add colour.
"""

from __future__ import annotations

from sentinelzer0.reports.palette import DARK, LIGHT

BAND_OPACITY = 0.18
FADED_OPACITY = 0.08
AREA_OPACITY = 0.2

_BASE = """
.sz0{{color-scheme:light dark;{light}background:var(--page);color:var(--text);
font:400 1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;text-align:left;overflow-wrap:anywhere}}
@media (prefers-color-scheme:dark){{.sz0{{{dark}}}}}
.sz0 *,.sz0 ::before{{box-sizing:border-box}}
.sz0 :focus-visible{{outline:3px solid var(--accent);outline-offset:2px;border-radius:2px}}
.sz0 a{{color:var(--accent);text-underline-offset:.15em}}
.sz0 p{{margin:.5rem 0}}
.sz0 code,.sz0 pre{{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.9em}}
.sz0 pre{{background:var(--sunk);border-radius:6px;margin:.75rem 0;overflow-x:auto;padding:.75rem 1rem}}
.sz0 .good{{color:var(--good)}}
.sz0 .caution{{color:var(--caution)}}
.sz0 .bad{{color:var(--bad)}}
.sz0 .muted{{color:var(--muted)}}
"""

_PAGE = """
.sz0.page{margin:0;padding:2.25rem 1.25rem 3rem}
.sz0 .sheet{margin:0 auto;max-width:56rem}
.sz0 h1{font-size:clamp(1.55rem,5vw,2.1rem);letter-spacing:-.015em;line-height:1.2;margin:0}
.sz0 .subtitle{color:var(--muted);font-size:1.05rem;margin:.35rem 0 0}
.sz0 h2{font-size:1.3rem;letter-spacing:-.01em;line-height:1.3;margin:2.75rem 0 .25rem}
.sz0 .intro{color:var(--muted);margin:0 0 .75rem;max-width:44rem}
.sz0 nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;list-style:none;margin:1.1rem 0 0;padding:0}
.sz0 footer{border-top:1px solid var(--line);color:var(--muted);font-size:.875rem;margin-top:3rem;padding-top:1rem}
.sz0 footer p{margin:.15rem 0}
"""

_BLOCKS = """
.sz0 .verdict{background:var(--surface);border:1px solid var(--line);border-left:5px solid var(--muted);
border-radius:8px;display:flex;gap:.85rem;margin:1.5rem 0;padding:1rem 1.15rem}
.sz0 .verdict .sign{align-items:center;border:2px solid currentColor;border-radius:50%;color:var(--muted);display:flex;
flex:none;font-size:1rem;font-weight:700;height:1.9rem;justify-content:center;line-height:1;width:1.9rem}
.sz0 .verdict p{margin:0}
.sz0 .verdict .say{font-size:1.125rem;font-weight:650;line-height:1.4}
.sz0 .verdict .kind{color:var(--muted);font-size:.8rem;font-weight:650;letter-spacing:.02em}
.sz0 .verdict.good{border-left-color:var(--good);color:inherit}
.sz0 .verdict.caution{border-left-color:var(--caution);color:inherit}
.sz0 .verdict.bad{border-left-color:var(--bad);color:inherit}
.sz0 .verdict.good .sign,.sz0 .verdict.good .kind{color:var(--good)}
.sz0 .verdict.caution .sign,.sz0 .verdict.caution .kind{color:var(--caution)}
.sz0 .verdict.bad .sign,.sz0 .verdict.bad .kind{color:var(--bad)}
.sz0 .facts{background:var(--line);border:1px solid var(--line);border-radius:8px;display:flex;flex-wrap:wrap;gap:1px;
margin:1rem 0;overflow:hidden}
.sz0 .facts>div{background:var(--surface);flex:1 1 8rem;padding:.75rem 1rem}
.sz0 .facts>.long{flex-basis:14rem}
.sz0 .facts dt{color:var(--muted);font-size:.85rem}
.sz0 .facts dd{font-size:1.2rem;font-weight:600;line-height:1.35;margin:0}
.sz0 .facts dd code{font-size:.8em;font-weight:500}
.sz0 .facts .note{color:var(--muted);display:block;font-size:.85rem;font-weight:400}
.sz0 .scroll{overflow-x:auto}
.sz0 .scroll.tall{max-height:22rem;overflow-y:auto}
.sz0 table{border-collapse:collapse;color:inherit;font-size:.925rem;font-variant-numeric:inherit;line-height:1.4;min-width:100%;overflow-wrap:normal}
.sz0 caption{color:var(--text);font-weight:650;padding:0 0 .5rem;text-align:left}
.sz0 th,.sz0 td{border-bottom:1px solid var(--line);color:var(--text);padding:.45rem .75rem;text-align:left;vertical-align:top}
.sz0 thead th{color:var(--muted);font-size:.85rem;font-weight:600;border-bottom:1px solid var(--axis)}
.sz0 tbody th{font-weight:600}
.sz0 tbody tr:last-child>*{border-bottom:0}
.sz0 td.wordy{min-width:18rem}
.sz0 td.num,.sz0 th.num{text-align:right;white-space:nowrap}
.sz0 .box{background:var(--surface);border:1px solid var(--line);border-radius:8px;margin:1rem 0;padding:1rem 1.15rem}
"""

_FIGURES = """
.sz0 figure{background:var(--surface);border:1px solid var(--line);border-radius:8px;container-type:inline-size;
margin:1rem 0;padding:1.1rem 1.15rem .8rem}
.sz0 figure .title{color:var(--text);font-size:1.05rem;font-weight:700;line-height:1.35;margin:0}
.sz0 figcaption{margin:0 0 .7rem}
.sz0 figcaption .says{color:var(--muted);font-size:.925rem;line-height:1.5;margin:.2rem 0 0;max-width:48rem}
.sz0 svg.chart{color:var(--text);display:block;height:auto;margin:0 auto;max-width:100%;overflow:visible;width:100%}
.sz0 svg.narrow{display:none;max-width:27rem}
@container (max-width:34rem){.sz0 svg.wide{display:none}.sz0 svg.narrow{display:block}}
.sz0 svg text{fill:var(--muted);font-family:inherit;font-size:12px}
.sz0 svg .strong{fill:var(--text);font-weight:650}
.sz0 svg .ink{fill:var(--text)}
.sz0 svg .grid{stroke:var(--line);stroke-width:1}
.sz0 svg .gap{fill:var(--surface);stroke:var(--surface)}
.sz0 svg .plate{fill:var(--surface);stroke-width:1.5}
.sz0 svg .axis{stroke:var(--axis)}
.sz0 svg .zero{stroke:var(--text)}
.sz0 svg .halo{fill:var(--surface);stroke:var(--surface)}
.sz0 svg text.halo{paint-order:stroke;stroke:var(--surface);stroke-width:4px;stroke-linejoin:round;fill:var(--text)}
.sz0 svg .limit{color:var(--bad)}
.sz0 svg text.limit{fill:var(--bad)}
.sz0 svg tspan.good,.sz0 svg text.good{fill:var(--good)}
.sz0 svg text.caution{fill:var(--caution)}
.sz0 svg tspan.bad,.sz0 svg text.bad{fill:var(--bad)}
.sz0 .neutral{color:var(--muted)}
.sz0 .s1{color:var(--series1)}
.sz0 .s2{color:var(--series2)}
.sz0 .s3{color:var(--series3)}
.sz0 .s4{color:var(--series4)}
.sz0 .s5{color:var(--series5)}
.sz0 .legend{color:var(--muted);display:flex;flex-wrap:wrap;font-size:.85rem;gap:.2rem 1.1rem;list-style:none;
margin:.6rem 0 0;padding:0}
.sz0 .legend li{align-items:center;display:flex;gap:.45rem}
.sz0 .legend svg{flex:none}
.sz0 .marks{font-size:.9rem;list-style:none;margin:.7rem 0 0;padding:0}
.sz0 .marks li{display:flex;gap:.6rem;padding:.22rem 0}
.sz0 .badge{align-items:center;border:1.5px solid currentColor;border-radius:50%;display:inline-flex;flex:none;
font-size:.75rem;font-weight:650;height:1.3rem;justify-content:center;line-height:1;margin-top:.1rem;min-width:1.3rem}
.sz0 .badge.auto{border-radius:3px}
.sz0 .badge b{color:var(--text);font-weight:650}
.sz0 details{border-top:1px solid var(--line);font-size:.9rem;margin-top:.8rem;padding-top:.45rem}
.sz0 summary{color:var(--muted);cursor:pointer;padding:.25rem 0}
.sz0 summary:hover{color:var(--text)}
.sz0 details .scroll{margin:.4rem 0}
.sz0 .panels svg.narrow{display:block}
.sz0 .panels{align-items:start;display:grid;gap:0 1rem;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr))}
"""

_LISTS = """
.sz0 .timeline,.sz0 .rail{list-style:none;margin:.4rem 0 0;padding:0}
.sz0 .timeline li{display:grid;gap:0 .8rem;grid-template-columns:1.5rem 1fr;padding-bottom:1rem;position:relative}
.sz0 .timeline li::before{background:var(--line);bottom:0;content:"";left:.7rem;position:absolute;top:1.5rem;width:2px}
.sz0 .timeline li:last-child{padding-bottom:.25rem}
.sz0 .timeline li:last-child::before{display:none}
.sz0 .timeline .badge{height:1.5rem;margin:0;min-width:1.5rem;position:relative}
.sz0 .timeline p{margin:0}
.sz0 .timeline .what{font-weight:600}
.sz0 .timeline .who{color:var(--muted);font-size:.9rem}
.sz0 .timeline .why{font-size:.925rem}
.sz0 .rail li{display:grid;gap:0 .6rem;grid-template-columns:auto 1fr}
.sz0 .rail .track{display:flex;flex-direction:column}
.sz0 .rail .track svg{color:var(--axis);display:block;flex:none;overflow:visible}
.sz0 .rail .track svg.stretch{flex:1 0 0;min-height:0}
.sz0 .rail .body{padding:.3rem 0 .75rem}
.sz0 .rail p{margin:0}
.sz0 .rail .version{font-weight:650}
.sz0 .rail .tag{border:1.5px solid currentColor;border-radius:99px;font-size:.8rem;font-weight:600;margin-left:.5rem;
padding:.02rem .55rem;white-space:nowrap}
.sz0 .rail .more{color:var(--muted);font-size:.9rem}
"""

_MEDIA = """
@media (max-width:30rem){.sz0.page{padding:1.25rem .75rem 2rem}.sz0 figure{padding:.9rem .8rem .6rem}
.sz0 th,.sz0 td{padding:.4rem .5rem}}
@media (prefers-reduced-motion:no-preference){.sz0 summary,.sz0 a{transition:color .15s}}
@media (forced-colors:active){.sz0 .badge,.sz0 .verdict,.sz0 figure{forced-color-adjust:auto}}
@media print{.sz0{LIGHT_VARIABLES--page:#ffffff;color-scheme:light}.sz0.page{padding:0}.sz0 .sheet{max-width:none}
.sz0 nav,.sz0 details{display:none}.sz0 figure,.sz0 .verdict,.sz0 .facts,.sz0 tr,.sz0 li{break-inside:avoid}
.sz0 h2,.sz0 h3{break-after:avoid}.sz0 .scroll{overflow:visible;max-height:none}}
"""

_FRAGMENT = """
.sz0.fragment{border-radius:8px;max-width:56rem;padding:.25rem .9rem}
"""


def css() -> str:
    """Return the whole style sheet, with line breaks removed."""
    base = _BASE.format(light=LIGHT.variables(), dark=DARK.variables())
    media = _MEDIA.replace("LIGHT_VARIABLES", LIGHT.variables())
    return f"{base}{_PAGE}{_BLOCKS}{_FIGURES}{_LISTS}{_FRAGMENT}{media}".replace("\n", "")
