-- One shard of purchases.sql. All purchases of a customer, and so of a device, are in one shard.
-- SQLite has no hash function, so this uses the customers' ids, which are numbers.
SELECT
    p.order_id,
    p.purchased_at AS created_at,
    p.amount AS revenue,
    p.currency,
    c.gps_adid,
    c.idfa,
    c.adid,
    c.os_name
FROM purchases AS p
JOIN customers AS c ON c.customer_id = p.customer_id
WHERE p.purchased_at >= '{{ data_interval_start.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND p.purchased_at < '{{ data_interval_end.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND CAST(p.customer_id AS INTEGER) % :shards = :shard
ORDER BY p.purchased_at, p.order_id
