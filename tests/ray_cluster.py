"""A Ray cluster of several nodes on this machine, which listens on loopback only.

`python ray_cluster.py NODES` starts one, prints a line of JSON (its address, and for each node
beside the head the processes of its raylet), and ends it when its input ends.
"""

import json
import os
import sys

VARIABLES = {
    # Ray takes loopback for its own address on Windows and macOS only; this makes it so on Linux.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Tests kill what they like; memory of other programs on this machine is none of Ray's business.
    "RAY_memory_monitor_refresh_ms": "0",
}
_MEMORY = 80 * 2**20


def main():
    os.environ.update(VARIABLES)
    from ray.cluster_utils import Cluster

    shared = {"node_ip_address": "127.0.0.1", "object_store_memory": _MEMORY}
    health = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": health, **shared}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, wait=False, **shared) for _ in range(int(sys.argv[1]))]
    cluster.wait_for_nodes()
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    sys.stdout.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
