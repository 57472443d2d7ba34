"""Orders that are posted to a web server, into a table; totals of customers are posted to another one, if it is given.

Arguments: the address that is listened at, the path of the database, and the URL for totals.
"""

import wallaroo
from wallaroo.connectors import HttpSink, HttpSource, SqliteSink


def application_setup(args):
    address, database, *url = args
    hooks = HttpSource(address, path="/orders", separator=b"\n", max_body=100_000)
    orders = wallaroo.source("orders", wallaroo.connector(hooks, wallaroo.json_lines()))
    create = "create table if not exists orders (id integer primary key, customer text not null, amount integer)"
    written = orders.sink(SqliteSink(database, "orders", create=create))
    if not url:
        return wallaroo.application("shop", written)
    totals = orders.key_by("customer").sum(lambda order: order["amount"])
    posted = totals.sink(wallaroo.connector(HttpSink(url[0]), wallaroo.json_lines()))
    return wallaroo.application("shop", written, posted)
