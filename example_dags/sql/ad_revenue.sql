-- What each impression earned, by a mediation platform's table. The aliases are Adjust's parameter names.
-- impression_id is the task's id_field. Adjust needs no ORDER BY; a retry without a ledger needs the same order.
SELECT
    i.impression_id,
    i.shown_at AS created_at,
    i.revenue,
    i.currency,
    1 AS ad_impressions_count,
    i.network AS ad_revenue_network,
    i.ad_unit AS ad_revenue_unit,
    i.placement AS ad_revenue_placement,
    c.gps_adid,
    c.idfa,
    c.adid,
    c.os_name
FROM ad_impressions AS i
JOIN customers AS c ON c.customer_id = i.customer_id
WHERE i.shown_at >= '{{ data_interval_start.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
  AND i.shown_at < '{{ data_interval_end.in_timezone("UTC").strftime("%Y-%m-%d %H:%M:%S") }}'
ORDER BY i.shown_at, i.impression_id
