"""What Streamlit runs: ``penstock page``, or ``streamlit run`` with this file.

A job's state is asked for every `POLL_S` in a fragment, which redraws nothing else; so whatever is being
computed or typed, the page answers.
"""

import os

import streamlit as st

from penstock.cli.page import form, market, purchase
from penstock.cli.page.counters import Counter, NodeCounter, OwnCounter, Standing, lost
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.job import State

POLL_S = 1.0
WORDS = {State.SCHEDULED: "queued", State.QUEUED: "queued", State.RUNNING: "started"}


@st.cache_resource
def own_counter() -> OwnCounter:
    """One for all visitors."""
    return OwnCounter()


def main() -> None:
    """The page, from top to bottom."""
    st.set_page_config(page_title="Habitat allocation", page_icon=":material/eco:", layout="centered")
    st.title("Habitat allocation")
    st.caption("The cheapest legal purchase of biodiversity units for a development.")
    counter, choices = _counter(), market.choices()
    if choices.warning:
        st.warning(choices.warning)
    params = form.draw(choices)
    if params is not None:
        _submit(counter, params)
    _job()


def _counter() -> Counter:
    url = os.environ.get("PENSTOCK_URL")
    if url is None:
        st.caption("Without a node: this page computes by itself.")
        return own_counter()
    at_node, here = f"on the node {url.partition('://')[2]}", "in this page"
    where = st.radio("Compute", [at_node, here], horizontal=True)
    return NodeCounter(url) if where == at_node else own_counter()


def _submit(counter: Counter, params: dict[str, object]) -> None:
    """The answer of the job before goes, whether or not the new one is taken."""
    st.session_state.job = st.session_state.standing = None
    st.session_state.trail = []
    try:
        st.session_state.job = (counter, counter.submit(params))
    except PenstockError as refused:
        st.error(lost(refused), icon=":material/error:")


def _job() -> None:
    job, standing = st.session_state.get("job"), st.session_state.get("standing")
    if standing is not None:
        st.caption(" → ".join(st.session_state.trail))
        purchase.draw(standing)
    elif job is not None:
        _watch(*job)


@st.fragment(run_every=POLL_S)
def _watch(counter: Counter, job: str) -> None:
    try:
        standing = counter.look(job)
    except PenstockError as failed:
        if failed.code is not ErrorCode.JOB_NOT_FOUND:
            st.warning(f"{lost(failed)}; the page goes on asking.")
            return
        standing = Standing(State.FAILED, error=failed.message)
    _remember(standing)
    if standing.state.final:
        st.session_state.standing = standing
        st.rerun()
    st.progress(standing.fraction, " → ".join(st.session_state.trail))
    st.caption(standing.message or "waiting for a worker")


def _remember(standing: Standing) -> None:
    """Each word once, in the order in which they were seen."""
    word = WORDS.get(standing.state, "finished" if standing.state is State.SUCCEEDED else "failed")
    seen = [word] + ([f"{standing.fraction:.0%}"] if standing.fraction and not standing.state.final else [])
    st.session_state.trail += [each for each in seen if each not in st.session_state.trail]


if __name__ == "__main__":
    main()
