-- What the warehouse says that Adjust's report must show: a row for each day, event token and currency.
-- Free purchases are left out, since Adjust takes no revenue of 0.00, and so they were not sent.
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
