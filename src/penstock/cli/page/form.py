"""The form: nothing is sent before its button is pressed."""

from typing import Any

import pandas as pd
import streamlit as st

from penstock.cli.page.market import Choices

START = {"Habitat": ["Lowland meadow", "Mixed scrub"], "Units": [0.8, 1.5]}
AT_HOME = ("Winchester", "South Downs")
HOLD = {"all": 100, "half": 50, "none": 0}
PROMOTERS = {"no agreement": None, "a discount": "percentage", "prices of the next larger size": "tier_up"}


def draw(choices: Choices) -> dict[str, Any] | None:
    """The parameters of the task when the button was pressed, else None."""
    with st.form("demand"):
        st.subheader("What must be bought")
        table = _demands(choices)
        left, right = st.columns(2)
        lpa = _area(left, "Local planning authority", choices.lpas, AT_HOME[0])
        nca = _area(right, "National character area", choices.ncas, AT_HOME[1])
        with st.expander("Terms"):
            terms = _terms()
        pressed = st.form_submit_button("Find the cheapest purchase", type="primary")
    if not pressed:
        return None
    return {"demand_df": _columns(table), "target_lpa": lpa or "", "target_nca": nca or ""} | terms


def _demands(choices: Choices) -> pd.DataFrame:
    habitat = st.column_config.SelectboxColumn(
        "Habitat", options=choices.habitats, required=True, width="large"
    )
    units = st.column_config.NumberColumn("Units", min_value=0.01, max_value=10_000.0, required=True)
    return st.data_editor(
        pd.DataFrame(START),
        num_rows="dynamic",
        hide_index=True,
        width="stretch",
        column_config={"Habitat": habitat, "Units": units},
        key="demands",
    )


def _area(place: Any, label: str, names: list[str], usual: str) -> str | None:
    known = names.index(usual) if usual in names else 0
    chosen: str | None = place.selectbox(
        label,
        names,
        index=known,
        accept_new_options=True,
        help="Another name: every bank that is not near is far.",
    )
    return chosen


def _terms() -> dict[str, Any]:
    hold = st.radio("Stock that is quoted to others is held back", list(HOLD), horizontal=True)
    left, right = st.columns(2)
    kind = PROMOTERS[left.selectbox("Promoter", list(PROMOTERS))]
    percent = right.number_input(
        "Discount, in %", 0.0, 99.0, 0.0, step=0.5, help="Counts for a discount only."
    )
    promoter = (
        None if kind is None else {"kind": kind} | ({"percent": percent} if kind == "percentage" else {})
    )
    return {"quotes_hold_policy": HOLD[hold], "promoter_info": promoter}


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    filled = table.dropna(how="any")
    return {"habitat_name": filled["Habitat"].tolist(), "units_required": filled["Units"].tolist()}
