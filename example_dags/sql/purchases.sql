-- The aliases are the mapping: each column is named as Adjust names the parameter.
-- order_id is the task's id_field: it identifies the event in logs and is not sent.
-- A free purchase keeps its amount of 0.00 here and is refused, so that it shows up in the report;
-- NULLIF(p.amount, 0) AS revenue would send it without revenue.
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
