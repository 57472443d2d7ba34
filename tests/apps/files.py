"""``files.py FROM TO``: writes the lines of one file in capitals to another; ``-`` means the standard streams."""

import wallaroo


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        return bs.decode("utf-8")

    def encode(self, data):
        return data + "\n"


class Capitals:
    def compute(self, data):
        # Printed to check that prints do not get into the data.
        print("seen:", data)
        return data.upper()


def application_setup(args):
    source, sink = args
    ab = wallaroo.ApplicationBuilder("Capitals")
    ab.new_pipeline(
        "lines", wallaroo.StdinSourceConfig(Lines) if source == "-" else wallaroo.FileSourceConfig(source, Lines)
    )
    ab.to(Capitals)
    ab.to_sink(wallaroo.StdoutSinkConfig(Lines) if sink == "-" else wallaroo.FileSinkConfig(sink, Lines))
    return ab.build()
