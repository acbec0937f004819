-- How many purchases of the interval there are, and when the last of them was loaded.
SELECT COUNT(*), MAX(loaded_at)
FROM purchases
WHERE purchased_at >= '{{ data_interval_start.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND purchased_at < '{{ data_interval_end.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
