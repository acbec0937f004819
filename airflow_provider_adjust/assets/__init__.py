"""Assets: what a DAG of this provider fills, as other DAGs and lineage tools name it."""
