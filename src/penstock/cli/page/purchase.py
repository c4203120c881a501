"""The result: totals, one row per demand, and files to take away."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from penstock.cli.page.counters import Standing

COLUMNS = {
    "demand": "Demand",
    "bank": "Bank",
    "supply": "Supply",
    "companion": "Companion",
    "tier": "Tier",
    "units": "Units",
    "unit_price": "Unit price",
    "cost": "Cost",
    "price_source": "Price list",
}
MONEY = ("Unit price", "Cost")


def draw(standing: Standing) -> None:
    """A purchase that was found, or why there is none."""
    if standing.result is None:
        st.error(standing.error or f"the job was {standing.state}", icon=":material/error:")
        return
    result = standing.result
    st.subheader("The cheapest purchase")
    _totals(result)
    table = frame(result)
    money = {name: st.column_config.NumberColumn(format="£%,.2f") for name in MONEY}
    st.dataframe(table, hide_index=True, width="stretch", column_config=money)
    st.caption(_remarks(standing))
    _files(result, table)


def _remarks(standing: Standing) -> str:
    result, banks = standing.result, ", ".join(standing.result["banks_used"])
    said = [
        f"{result['total_units']:g} units make a {result['contract_size']} contract, from {banks}.",
        "This answer was known already." if standing.cached else "",
        f"Data version {result['data_version']}.",
    ]
    return " ".join(filter(None, said))


def frame(result: dict[str, Any]) -> pd.DataFrame:
    """The rows as a table; a column that says nothing is left out."""
    table = pd.DataFrame(result["allocation"])[list(COLUMNS)].rename(columns=COLUMNS)
    return table if table["Companion"].notna().any() else table.drop(columns="Companion")


def _totals(result: dict[str, Any]) -> None:
    told = {"Total": "total_with_fee", "Cost of the units": "total_cost", "Fee": "admin_fee"}
    for place, (label, field) in zip(st.columns(len(told)), told.items(), strict=True):
        place.metric(label, pounds(result[field]))


def pounds(amount: float) -> str:
    """With pence only where there are any."""
    return f"£{amount:,.2f}".removesuffix(".00")


def _files(result: dict[str, Any], table: pd.DataFrame) -> None:
    csv, whole, _ = st.columns([1, 1, 3])
    csv.download_button(
        "Table as CSV", table.to_csv(index=False), "allocation.csv", "text/csv", width="stretch"
    )
    whole.download_button(
        "All as JSON", json.dumps(result, indent=2), "allocation.json", "application/json", width="stretch"
    )
