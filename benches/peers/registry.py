"""MLflow over SQLite, without a server: the peer of `cargo bench --bench registry`, which starts this and asks it.

pip install mlflow
"""
import logging
import pathlib
import sys
import tempfile
import time

logging.disable(logging.CRITICAL)

from mlflow import MlflowClient

VERSIONS = 10_000


class Peer:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.client.create_registered_model("shop")
        self.registered = 0

    def register(self):
        market = "eu" if self.registered % 100 == 7 else "us"
        self.client.create_model_version("shop", source=f"{self.folder}/model", tags={"market": market})
        self.registered += 1

    def promote(self):
        self.client.set_registered_model_alias("shop", "champion", "1")

    def resolve(self):
        self.client.get_model_version_by_alias("shop", "champion")

    def prepare_search(self):
        while self.registered < VERSIONS:
            self.register()

    def search_by_tag(self):
        found = self.client.search_model_versions("name = 'shop' AND tags.market = 'eu'", max_results=VERSIONS)
        assert found, "MLflow finds nothing"

    def full_scan(self):
        order = ["version_number DESC"]
        assert len(self.client.search_model_versions("name = 'shop'", max_results=VERSIONS, order_by=order)) == VERSIONS

    prepare_full_scan = prepare_search

    def prepare_artifact_in(self):
        where = (self.folder / "artifacts").as_uri()
        experiment = self.client.create_experiment(f"bench {time.time_ns()}", artifact_location=where)
        self.run = self.client.create_run(experiment).info.run_id
        (self.folder / "big.bin").write_bytes(bytes([1]) * (100 << 20))

    def artifact_in(self):
        self.client.log_artifact(self.run, str(self.folder / "big.bin"))


with tempfile.TemporaryDirectory() as folder:
    peer = Peer(folder)
    print("ready", flush=True)
    for line in sys.stdin:
        name, repeats = line.split()
        getattr(peer, f"prepare_{name}", lambda: None)()
        run = getattr(peer, name)
        start = time.perf_counter_ns()
        for _ in range(int(repeats)):
            run()
        print(time.perf_counter_ns() - start, flush=True)
