-- The purchases of the time window that an earlier task returned. See purchases.sql.
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
WHERE p.purchased_at >= '{{ ti.xcom_pull("window").start }}'
  AND p.purchased_at < '{{ ti.xcom_pull("window").end }}'
ORDER BY p.purchased_at, p.order_id
