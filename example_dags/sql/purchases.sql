-- The aliases are Adjust's parameter names.
-- order_id is the task's id_field: the event's id in logs, in the ledger, and in callback_params at Adjust.
-- A free purchase keeps its amount of 0.00 here and is refused, so that it is listed as invalid.
-- To send it without revenue, select NULLIF(p.amount, 0) AS revenue.
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
ORDER BY p.purchased_at, p.order_id
