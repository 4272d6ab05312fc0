"""Selection networks for 3 x 3 and 5 x 5 medians: lists of (low, high) places to compare and exchange, no branches.

`COLUMN_SORT` sorts a column. `MEDIAN_NETWORK` brings the median of a square whose columns are sorted to `MEDIAN_PLACE`;
the value in row r and column c has the number r * side + c. Neighbouring windows share sorted columns, so a 5 x 5
median costs about 116 minima and maxima instead of the 202 of a sorting network. The networks were found by pruning:
rows sorted, the places that cannot hold the median left out, and every exchange dropped that no sorted square of zeros
and ones needs; by the 0-1 principle that proves them, and a test repeats the proof.
"""

COLUMN_SORT: dict[int, tuple[tuple[int, int], ...]] = {
    3: ((0, 1), (1, 2), (0, 1)),
    5: ((0, 1), (3, 4), (2, 4), (2, 3), (1, 4), (0, 3), (0, 2), (1, 3), (1, 2)),
}
MEDIAN_PLACE = {3: 4, 5: 12}
MEDIAN_NETWORK: dict[int, tuple[tuple[int, int], ...]] = {
    3: ((0, 1), (1, 2), (3, 4), (4, 5), (3, 4), (6, 7), (6, 8), (2, 4), (4, 6), (2, 4)),
    5: (
        (0, 1), (3, 4), (2, 3), (1, 4), (0, 3), (1, 3), (5, 6), (8, 9), (6, 9), (5, 8), (6, 8),
        (6, 7), (10, 11), (13, 14), (12, 14), (11, 14), (10, 13), (10, 12), (18, 19), (17, 19), (17, 18), (16, 19),
        (15, 18), (15, 17), (16, 18), (16, 17), (20, 21), (23, 24), (22, 23), (21, 24), (20, 23), (20, 22), (21, 22),
        (15, 13), (3, 20), (11, 4), (12, 16), (8, 7), (17, 21), (15, 3), (13, 20), (11, 12), (4, 16), (8, 17),
        (13, 3), (4, 12), (13, 4), (3, 12), (20, 16), (3, 11), (20, 4), (17, 9), (20, 11), (4, 12), (7, 17),
        (11, 8), (4, 7), (12, 17), (20, 4), (12, 8), (4, 12),
    ),
}  # fmt: skip
