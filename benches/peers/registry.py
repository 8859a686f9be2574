"""Times the peer of `cargo bench --bench registry`: MLflow over SQLite, no server, wall time, median.

pip install mlflow
"""
import logging
import pathlib
import statistics
import tempfile
import time

logging.disable(logging.CRITICAL)

from mlflow import MlflowClient


def wall_ms(name, run, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    print(f"{name}: {statistics.median(times):.2f} ms")


with tempfile.TemporaryDirectory() as folder:
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_registered_model("shop")
    wall_ms("MLflow register", lambda: client.create_model_version("shop", source=f"{folder}/model"), 20)
    wall_ms("MLflow promote", lambda: client.set_registered_model_alias("shop", "champion", "1"), 20)
    wall_ms("MLflow resolve", lambda: client.get_model_version_by_alias("shop", "champion"), 50)
    for number in range(2_000):
        market = "eu" if number % 100 == 7 else "us"
        client.create_model_version("shop", source=f"{folder}/model", tags={"market": market})
    wall_ms("MLflow search of 2 000 versions by tag",
            lambda: client.search_model_versions("name = 'shop' AND tags.market = 'eu'", max_results=1_000), 5)

    experiment = client.create_experiment("bench", artifact_location=pathlib.Path(folder, "artifacts").as_uri())
    run = client.create_run(experiment)
    big = pathlib.Path(folder, "big.bin")
    big.write_bytes(bytes([1]) * (100 << 20))
    wall_ms("MLflow 100 MB artifact in, no digest", lambda: client.log_artifact(run.info.run_id, str(big)), 3)
