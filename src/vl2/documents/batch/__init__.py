"""One job for many workers: processes of this machine, or those of a Ray cluster.

An `errand.Errand` says everything that a worker must know, as text. `pool.Pool` hands documents to
processes, each with a desk of its own; `cluster.read_on_cluster` to the machines of a cluster. A
worker that dies loses nothing but the pages that it was at.
"""
