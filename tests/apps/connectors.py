"""Numbers from a source that is written in Python, into a table by a sink that is.

Arguments: the path of the database, how many partitions, how many numbers in each; and what goes wrong, if anything.
"""

import os
import sqlite3
import time

import wallaroo


class Numbers(wallaroo.Source):
    """The numbers below ``end``, in each of some partitions."""

    def __init__(self, count, end, trouble):
        self.count, self.end, self.trouble = count, end, trouble

    def partitions(self):
        return [f"p{number}" for number in range(self.count)]

    def open(self, partition, position):
        self.partition = partition
        self.next = 0 if position is None else position + 1
        self.acknowledged = None

    def read(self, limit, timeout):
        if self.trouble == "away" and os.path.exists("away"):
            raise ConnectionError("the numbers are away")
        if self.trouble == "exit" and self.next >= self.end // 2 and not os.path.exists(f"{self.partition}.exited"):
            open(f"{self.partition}.exited", "w").close()
            os._exit(7)
        if self.next == self.end:
            return None
        if self.trouble in ("slow", "away"):
            time.sleep(0.005)
        numbers = range(self.next, min(self.next + min(limit, 100), self.end))
        self.next = numbers.stop
        return [((self.partition, number), number) for number in numbers]

    def acknowledge(self, position):
        self.acknowledged = position

    def close(self):
        print(f"closed {self.partition} behind {self.acknowledged}", flush=True)


class AsyncNumbers(Numbers):
    """The same, in coroutines."""

    async def read(self, limit, timeout):
        return super().read(limit, timeout)

    async def acknowledge(self, position):
        super().acknowledge(position)


class Table(wallaroo.Sink):
    """Rows of a table, with the position in another one."""

    def __init__(self, path, trouble):
        self.path, self.trouble = path, trouble

    def open(self):
        if self.trouble == "away" and os.path.exists("away"):
            raise ConnectionError("the table is away")
        self.database = sqlite3.connect(self.path, timeout=60)
        with self.database:
            self.database.execute("create table if not exists numbers (partition text, number integer)")
            self.database.execute("create table if not exists position (position text)")
        found = self.database.execute("select position from position").fetchone()
        return None if found is None else found[0]

    def write(self, position, messages):
        if self.trouble == "away" and os.path.exists("away"):
            raise ConnectionError("the table is away")
        if self.trouble == "reject":
            for index, (_, number) in enumerate(messages):
                if number % 1_000 == 13:
                    raise wallaroo.RejectedMessageError(index, f"{number} is unlucky")
        with self.database:
            self.database.executemany("insert into numbers values (?, ?)", messages)
            self.database.execute("delete from position")
            self.database.execute("insert into position values (?)", (position,))
        if self.trouble == "fail" and not os.path.exists("failed"):
            open("failed", "w").close()
            raise ConnectionResetError("committed, and the answer is lost")

    def close(self):
        self.database.close()


def application_setup(args):
    path, count, end, trouble = args[0], int(args[1]), int(args[2]), args[3] if len(args) > 3 else None
    source = AsyncNumbers if trouble == "async" else Numbers
    numbers = wallaroo.source("numbers", source(count, end, trouble))
    doubled = numbers.map(lambda message: message, name="same")
    return wallaroo.application("copy", doubled.sink(Table(path, trouble)))
