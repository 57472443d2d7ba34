"""A script with a sink connector: prints what comes."""

import wallaroo.experimental

connector = wallaroo.experimental.SinkConnector(required_params=[], optional_params=[])
connector.listen()
print("listening")
while True:
    print(connector.read())
