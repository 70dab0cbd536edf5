"""Event time of stage 2: the frontier and the windows that are due; counts play no part here."""
