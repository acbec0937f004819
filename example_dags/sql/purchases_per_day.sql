-- What Adjust's report should show, by the warehouse: a row for each day, event token and currency.
-- Free purchases are left out: Adjust accepts no revenue of 0.00, so they were not sent.
SELECT
    DATE(purchased_at) AS day,
    'f0ob4r' AS event_token,
    COUNT(*) AS events,
    SUM(amount) AS revenue,
    currency
FROM purchases
WHERE purchased_at >= '{{ data_interval_start.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND purchased_at < '{{ data_interval_end.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND amount > 0
GROUP BY DATE(purchased_at), currency
ORDER BY DATE(purchased_at)
