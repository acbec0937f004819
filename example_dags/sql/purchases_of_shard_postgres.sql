-- One shard of purchases.sql. All purchases of a customer, and so of a device, are in one shard.
-- 32 bits of an MD5 suit any id, spread evenly, and are the same on every release. The modulo sign is doubled, because the
-- query has parameters.
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
  AND ('x' || LEFT(MD5(p.customer_id), 8))::bit(32)::bigint %% %(shards)s = %(shard)s
ORDER BY p.purchased_at, p.order_id
