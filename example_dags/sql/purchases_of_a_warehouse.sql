-- Works on Postgres, Redshift, Snowflake, BigQuery, Databricks and Trino, because all of them read TIMESTAMP literals.
-- purchased_at is in UTC. params.tables is the schema, dataset or catalog with the tables.
SELECT
    p.order_id,
    p.purchased_at AS created_at,
    p.amount AS revenue,
    p.currency,
    c.gps_adid,
    c.idfa,
    c.os_name
FROM {{ params.tables }}.purchases AS p
JOIN {{ params.tables }}.customers AS c ON c.customer_id = p.customer_id
WHERE p.purchased_at >= TIMESTAMP '{{ data_interval_start.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND p.purchased_at < TIMESTAMP '{{ data_interval_end.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
ORDER BY p.purchased_at, p.order_id
