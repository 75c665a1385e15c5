"""What reading a whole history asks of the table, counted over a plain list in place of it."""

from __future__ import annotations

import random

import pytest

from chalicelib.adapters.dynamodb_items import SHARDS, shard_of
from chalicelib.adapters.dynamodb_read import read_chain
from tests.contract.chains import chain


class Table:
    """Items of one run by partition; counts queries, and items given."""

    def __init__(self, items):
        self.items, self.queries, self.given = items, 0, 0

    def __call__(self, shard, low, high, descending, most):
        self.queries += 1
        found = [item for item in self.items if shard_of(item.seq) == shard and low <= item.seq <= high]
        found = (found[::-1] if descending else found)[:most]
        self.given += len(found)
        return found


def whole(table, page):
    found, after = [], 0
    while True:
        items = read_chain(table, after, page)
        found += items
        if len(items) < page:
            return found
        after = items[-1].seq + items[-1].events - 1


@pytest.mark.parametrize("seed", range(4))
def test_a_long_history_is_read_with_about_one_query_a_partition_and_page(seed):
    rng = random.Random(seed)
    most = rng.choice([1, 3, 9])
    items = chain("r", *[rng.randint(1, most) for _ in range(3000)])
    table = Table(items)
    assert whole(table, 1000) == items
    pages = 3000 / 1000
    assert table.queries <= (pages + 1) * SHARDS * (1 + most / 2)
    assert table.given <= 4 * len(items)


@pytest.mark.parametrize("limit", [1, 100, 500])
def test_a_look_for_news_stays_a_few_queries(limit):
    items = chain("r", *[2] * 1500)
    table = Table(items)
    last = items[-1]
    assert read_chain(table, last.seq - 1, limit) == [last]
    assert table.queries <= 5
