-- What Adjust's report should show: a row for each day and currency. Ad revenue has no event token.
-- The number of rows is compared with the ledger, because the report does not count ad revenue.
SELECT
    DATE(shown_at) AS day,
    COUNT(*) AS events,
    SUM(revenue) AS revenue,
    currency
FROM ad_impressions
WHERE shown_at >= '{{ data_interval_start.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND shown_at < '{{ data_interval_end.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
GROUP BY DATE(shown_at), currency
