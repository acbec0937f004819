-- The number and the sum of the interval's purchases, by the warehouse.
SELECT COUNT(*), COALESCE(SUM(amount), 0)
FROM purchases
WHERE purchased_at >= '{{ data_interval_start.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND purchased_at < '{{ data_interval_end.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
