"""Write an `EventTimeline`: who did what, when and why, on which bytes. It is text, so everyone can read it."""

from __future__ import annotations

from sentinelzer0.reports.chart_values import Event, EventTimeline
from sentinelzer0.reports.figure import Context, Data, actor_text, badge, caption, data_details, tone_sign
from sentinelzer0.reports.formats import distance, moment, short_digest
from sentinelzer0.reports.html import Markup, el
from sentinelzer0.reports.page_values import Column


def timeline_figure(timeline: EventTimeline, context: Context) -> Markup:
    """Write the events as a list, with table and CSV."""
    return el(
        "figure",
        caption(context, timeline.title, timeline_sentence(timeline)),
        el("ol", [_item(event) for event in timeline.events], class_="timeline"),
        data_details(timeline.title, _data(timeline)),
        id=context.prefix,
    )


def timeline_sentence(timeline: EventTimeline) -> str:
    """Say how many events there are, over what time, and how many a machine caused."""
    events = timeline.events
    if not events:
        return "No events."
    counted = "1 event" if len(events) == 1 else f"{len(events)} events"
    automatic = sum(event.automatic for event in events)
    first, last = min(event.at for event in events), max(event.at for event in events)
    within = f" within {distance(first, last)}" if last > first else ""
    shapes = "Round signs are people, square ones automatic."
    return f"{counted}{within}, {automatic} of them automatic. {shapes}"


def _item(event: Event) -> Markup:
    who = actor_text(event.actor, automatic=event.automatic)
    digest = el("code", short_digest(event.digest), title=event.digest) if event.digest else None
    about = [el("time", moment(event.at), datetime=event.at.isoformat())]
    for part in (who, digest):
        if part:
            about += [el("span", " \N{MIDDLE DOT} "), el("span", part)]
    return el(
        "li",
        badge(tone_sign(event.tone), event.tone, automatic=event.automatic),
        el(
            "div",
            el("p", event.what, class_="what"),
            el("p", about, class_="who"),
            el("p", event.reason, class_="why") if event.reason else None,
        ),
    )


def _data(timeline: EventTimeline) -> Data:
    columns = (Column("Time"), Column("What"), Column("Who"), Column("Why"), Column("Digest", code=True))
    rows = tuple(
        (event.at, event.what, actor_text(event.actor, automatic=event.automatic), event.reason, event.digest)
        for event in timeline.events
    )
    return Data(columns, rows)
