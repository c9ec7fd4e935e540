"""What each contrast measures, as the identification check found it: the report's tables of estimands and roles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from causal.adjustment import adjustment
from causal.identification import identify
from diagnostics.dag import identified
from diagnostics.inputs import Inputs
from diagnostics.marks import NOT_IDENTIFIED
from diagnostics.page import ESTIMANDS, Table


def estimand_table(inputs: Inputs) -> Table | None:
    """Return one row per attribute and kind of contrast, with its sentence; None where the run holds no details.

    Sets of held attributes for which the same is measured, for the same reason, share a row; its sentence is that of
    the largest. Where only adjusting identifies an effect, a row of ``aipw`` follows.
    """
    found = identified(inputs)
    adjusted = _adjusted(inputs, found)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in sorted([*found, *adjusted], key=lambda row: -len(row["held"])):
        reason = tuple(tuple(row[key]) for key in ("open_paths", "mediators", "colliders"))
        groups.setdefault((row["attribute"], "adjusted" in row, row["estimand"], *reason), []).append(row)
    order = list(inputs.study.attributes)
    lines = tuple(
        (
            rows[0]["attribute"],
            "; ".join(_listed(row["held"]) for row in rows) + rows[0].get("adjusted", ""),
            ESTIMANDS[rows[0]["estimand"]],
            rows[0]["sentence"].replace(" <- ", " ← ").replace(" -> ", " → "),
            _adjustment(rows[0]["minimal_adjustment"]),
        )
        for _, rows in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    )
    head = ("attribute", "held fixed", "measures", "in words, for the first set named", "hold for the total effect")
    caption = (
        "What each contrast measures if the graph is right. Sets that stand in one row, apart by semicolons, measure "
        "the same for the same reason. The last column is a smallest set that would identify the attribute's total "
        "effect."
    )
    if adjusted:
        caption += " Rows of aipw hold for people who overlap (see check overlap)."
    return Table(caption, head, lines, len(head)) if lines else None


def _adjusted(inputs: Inputs, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rows of ``aipw`` measure where those of the cells are associations and these are not."""
    if "aipw" not in inputs.study.effects.adjusting:
        return []
    rows = []
    for row in (row for row in found if row["estimand"] == NOT_IDENTIFIED):
        names = adjustment(inputs.study, row["attribute"], row["held"]).names
        one = identify(inputs.study.causal_graph, row["attribute"], names)
        if one.estimand != NOT_IDENTIFIED:
            changed = {"open_paths": [], "colliders": [], "mediators": list(one.mediators), "estimand": one.estimand}
            rows.append(row | changed | {"sentence": one.sentence, "adjusted": " (aipw)"})
    return rows


def role_table(inputs: Inputs) -> Table | None:
    """Return what every node is to every attribute's effect; None without other nodes, or where none has a role."""
    roles = {row["attribute"]: row["roles"] for row in identified(inputs)}
    nodes = list(dict.fromkeys(node for own in roles.values() for node in own))
    if all(role == "neutral" for own in roles.values() for found in own.values() for role in found):
        return None
    lines = tuple((node, *(", ".join(own.get(node, ["–"])) for own in roles.values())) for node in nodes)
    caption = (
        "What each thing in the graph is to the effect of each attribute on the answer. A confounder causes both; a "
        "mediator carries part of the effect; a collider is a common effect of two causes and ties them together if it "
        "is held; a descendant is caused by the attribute and does not cause the answer; an instrument causes the "
        "answer through the attribute only; neutral is none of these."
    )
    return Table(caption, ("", *(f"for {name}" for name in roles)), lines, 1 + len(roles))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _adjustment(names: list[str] | None) -> str:
    return "no measured set will do" if names is None else _listed(names)
