"""The after-action report: what the incident was, how it ended, its plans and who approved them; as JSON, as a CSV of
its figures, and as a page to print."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import asyncpg

from fulfillment.allocation.writing import csv_bytes
from fulfillment.emergency import incidents, plans
from fulfillment.emergency.views import AfterAction, PlanView, TierFigures
from fulfillment.store import emergency_plans
from hub.kernel.cells import cell
from hub.kernel.db import Tx

ZONE = ZoneInfo("Asia/Shanghai")


async def report(tx: Tx, incident: asyncpg.Record) -> AfterAction:
    """The report as of now."""
    rows = await emergency_plans.plan_rows(tx, incident["id"], 2**62, 200)
    return AfterAction(
        incident=incidents.view_of(tx, incident),
        figures=await incidents.figures(tx, incident),
        plans=[plans.view_of(row) for row in rows],
    )


def as_csv(found: AfterAction) -> bytes:
    """The figures by tier and item, one line each, for a spreadsheet."""
    columns = tuple(TierFigures.model_fields)
    rows = [[cell(getattr(tier, name)) for name in columns] for tier in found.figures.tiers]
    return b"\xef\xbb\xbf" + csv_bytes(columns, rows)


def as_page(found: AfterAction) -> bytes:
    """The report as a page."""
    incident, figures = found.incident, found.figures
    clock = incident.clock
    kind = "演练 exercise" if incident.exercise else "应急 incident"
    filled = "—" if figures.filled is None else f"{figures.filled:.1%}"
    facts = [
        ("区域 area", incident.area),
        ("宣布 declared", f"{_when(clock.declared_at)} ({incident.declared_by})"),
        ("截止 deadline", _when(clock.deadline_at)),
        ("关闭 closed", f"{_when(clock.closed_at)} ({incident.closed_by})" if clock.closed_at else "—"),
        ("随机种子 seed", str(incident.seed)),
        ("满足率 allotted of what counts", f"{figures.allotted:,} / {figures.counted:,} = {filled}"),
        ("按时 delivered by the deadline", f"{figures.in_time:,}"),
        ("迟到 late", f"{figures.late:,}"),
        ("单位 sites", f"{figures.intake.sites:,}, {figures.intake.verified:,} verified"),
        ("重复 asked again", f"{figures.intake.asked_again:,}"),
    ]
    tiers = [
        (t.tier, t.item, t.sites, t.served, t.asked, t.counted, t.allotted, t.ordered, t.delivered, t.in_time, t.late,
         t.refused)
        for t in figures.tiers
    ]  # fmt: skip
    stock = [(s.item, s.vendors, s.warehouses, s.supplied, s.fenced, s.taken, s.lost, s.given_back)
             for s in figures.stock]  # fmt: skip
    body = [
        f"<h1>{html.escape(incident.title)}</h1><p>{kind}, {incident.status}; as of {_when(figures.as_of)} "
        "(Asia/Shanghai)</p>",
        _table(("", ""), facts),
        "<h2>按级别 by tier, units</h2>",
        _bars(figures.tiers),
        _table(
            ("tier", "item", "sites", "served", "asked", "counted", "allotted", "ordered", "delivered", "in time",
             "late", "refused"),
            tiers,
        ),
        "<h2>物资 stock, units</h2>",
        _table(("item", "vendors", "warehouses", "supplied", "fenced", "taken", "lost", "given back"), stock),
        "<h2>方案 plans</h2>",
        *(_plan(plan) for plan in found.plans),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(incident.title)}</title><style>{_STYLE}</style>{''.join(body)}</html>"
    ).encode()


_STYLE = (
    "body{font:15px/1.5 system-ui,'PingFang SC','Noto Sans CJK SC',sans-serif;margin:2rem auto;max-width:70rem;"
    "padding:0 1rem}td,th{padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}code{font-size:12px}"
)


def _plan(plan: PlanView) -> str:
    approved = ", ".join(f"{a.actor} {_when(a.at)}" for a in plan.approvals) or "—"
    head = f"<h3>#{plan.id} {plan.state}</h3><p>by {html.escape(plan.author)} {_when(plan.created_at)}"
    head += f"; approved: {html.escape(approved)}"
    if plan.committed_at:
        head += f"; committed {_when(plan.committed_at)} ({html.escape(plan.committed_by or '')})</p>"
    else:
        head += f"; not committed</p><p>{html.escape(plan.problem or '')}</p>"
    if plan.comparison is None:
        return head
    rows = [
        (way["name"], way["units"], way["served"], f"{way['worst']:.1%}", way["gini"], way["jain"], way["cost"],
         way["splits"])
        for way in plan.comparison
    ]  # fmt: skip
    hashes = f"<p><code>snapshot {plan.snapshot_sha256}<br>plan {plan.plan_sha256}</code></p>"
    return head + _table(("", "units", "served", "worst", "Gini", "Jain", "cost", "splits"), rows) + hashes


def _bars(tiers: Sequence[TierFigures]) -> str:
    """Allotted of what counts, a bar for each tier and item."""
    width, height = 560, 24
    rows = []
    for at, tier in enumerate(tiers):
        share = min(1.0, tier.allotted / tier.counted) if tier.counted else 0.0
        said = html.escape(f"{tier.tier} {tier.item}: {share:.1%}")
        rows.append(
            f'<rect x="0" y="{at * height}" width="{width}" height="{height - 6}" fill="#e6e9ee"/>'
            f'<rect x="0" y="{at * height}" width="{width * share:.1f}" height="{height - 6}" fill="#206bc4"/>'
            f'<text x="{width + 8}" y="{at * height + 14}" font-size="13">{said}</text>'
        )
    return f'<svg width="900" height="{height * len(tiers)}" role="img" aria-label="by tier">{"".join(rows)}</svg>'


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def shown(value: object) -> str:
        return html.escape(f"{value:,}" if isinstance(value, int) else str(value))

    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{shown(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _when(at: datetime | None) -> str:
    return at.astimezone(ZONE).strftime("%Y-%m-%d %H:%M") if at else "—"
