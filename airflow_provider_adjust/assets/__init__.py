"""Assets: the apps and events at Adjust that a DAG sends to, as names for other DAGs and for lineage tools."""
