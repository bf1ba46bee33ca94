"""Random CSV for property-based tests: regular, odd and hostile."""

from hypothesis import strategies as st

#: Everything that has a meaning, alone and as it hurts most.
PIECES = (
    *(b"a", b"12", "é".encode(), b"\xff", b"\0", b'"', b'""', b",", b"\n", b"\r", b"\r\n"),
    *(b'","', b'",', b',"', b'"\n', b'\n"', b'"a"', b'"a,b"', b'5"'),
)
#: Texts of these pieces: without an order, or repeated with something else at the end.
TEXTS = st.builds(
    lambda unit, times, rest: b"".join(unit) * times + b"".join(rest),
    st.lists(st.sampled_from(PIECES), max_size=30),
    st.integers(1, 40),
    st.lists(st.sampled_from(PIECES), max_size=10),
)
