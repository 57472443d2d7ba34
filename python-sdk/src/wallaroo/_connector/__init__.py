"""The process of a connector: it runs one :class:`wallaroo.Source` or :class:`wallaroo.Sink` for ``wallaroo-orch``."""
