"""What happens to a page: the whole flow, each line naming the file that does it.

A page arrives::

    pages.ingest            ingest.py               one batch at a time, again and again until the budget ends
      stream.reclaim        worker/stream.py        first what a dead worker left, one entry at a time
      stream.read           worker/stream.py        then a batch of new entries
      decode_fields         steps/payload.py        fields  → Payload
      parse                 steps/parse/            Payload → ParsedPage, or an error of errors.py
      understand            steps/understand.py     + identity, content hash, items named → PageResult | FailureResult
        guarded             guard.py                its CPU time and memory bounded; every bug is that page's failure
        sandbox             worker/sandbox.py       where a page is parsed that was in hand when a process died
      store.commit          worker/store/           one transaction: delivery, page, revision, payload, items, failure
        decide              steps/dedupe.py         new · revision · unchanged · duplicate
      stream.ack            worker/stream.py        only now does the entry leave the stream

What failed is tried again, and where too much of a source fails, the source is paused::

    pages.retry             retry.py                due failures, from their stored bytes, committed the same way
      next_attempt          steps/policy.py         when, how often, and whether to fetch the page anew
    pausing.py                                      pages of a paused source are parked in the stream

What a page names is followed, and so are the lists at a source's start URLs::

    items.fetch             fetch.py                due items → HTTP → back onto the stream
      discover              steps/follow.py         (at ingest) related IDs → items, within the source's bounds
      plant                 starts.py               (at upkeep) start URLs → items that are due again and again
      Crawl                 crawl.py                claims, slots, robots.txt, redirects and ends of all that is in hand
        Job                 job.py                  one URL on its way, and what its answer says
        Manners             manners.py              what robots.txt says, and which hosts are closed for now
        gate.admit          worker/host_gate.py     when a host may be asked, over all workers
        fetcher.start       worker/http_fetcher.py  hundreds of requests at a time, to public addresses only

Texts are compared::

    texts.compare           compare.py              a little behind the commits, a thousand at a time
      sketch                steps/similar.py        (at commit) a text → what is kept of it
      enter, cluster        steps/clusters.py       sketches that share keys → clusters of near-duplicates

And the house is kept::

    upkeep                  upkeep.py               leases that ran out, consumers that died, the epoch's ledger

``steps`` is pure. The five task files are shells: get the context, call one function, log one outcome.
They meet the world through the Protocols of ``ports.py``; ``worker.app`` hands them the real thing.
"""
