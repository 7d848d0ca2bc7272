import pyarrow as pa
import pytest

from pipelines.file_batches import FileWork, in_batches

SCHEMA = pa.schema([("double", pa.int64()), ("reason", pa.string())])


def double(columns: dict[str, list]) -> pa.Table:
    return pa.Table.from_pylist([{"double": 2 * number, "reason": ""} for number in columns["number"]], schema=SCHEMA)


def work(batch=double, files_per_task: int = 64) -> FileWork:
    return FileWork(batch, SCHEMA, lambda reason, detail: {"reason": reason}, "double", files_per_task)


@pytest.mark.parametrize("files_per_task", [1, 3, 7, 64])
def test_rows_come_back_in_their_order_whatever_the_size_of_a_batch(files_per_task):
    rows = pa.table({"number": list(range(7))})
    found = in_batches(work(files_per_task=files_per_task), rows, workers=0)
    assert found["double"].to_pylist() == [0, 2, 4, 6, 8, 10, 12]


def test_no_rows_give_an_empty_table_of_the_schema():
    assert in_batches(work(), pa.table({"number": pa.array([], pa.int64())}), workers=0) == SCHEMA.empty_table()


def test_a_store_that_fails_ends_the_work():
    def lost(columns):
        raise ConnectionError("the store is gone")

    with pytest.raises(ConnectionError, match="gone"):
        in_batches(work(lost), pa.table({"number": [1]}), workers=0)
