"""The page of the optimiser: ``script`` is what Streamlit runs, at every event, for every visitor."""
