"""A farm of web sites on loopback, in a process of its own: what a crawler does to hosts is read from its log.

``sites`` says what is there and how each host behaves, ``server`` answers, ``log`` is what was asked, ``rules`` what
must hold of that, and ``running`` starts it. Nothing of penstock is used here.
"""
