"""What this connector asks of Shopify's GraphQL Admin API, word for word. Every document is valid in the published
schemas of API versions 2025-10 to 2026-10 (README.md); nothing here is put together at run time."""

from __future__ import annotations

SHOP = """query HubShop { shop { currencyCode } }"""

# Listings -----------------------------------------------------------------------------------------------------

_PRODUCT = """
  id title vendor productType status isGiftCard requiresSellingPlan publishedAt onlineStoreUrl
  description(truncateAt: 2000)
  category { name }
  featuredMedia { preview { image { url } } }
"""
_VARIANT = """
  id title sku barcode price requiresComponents
  selectedOptions { name value }
  inventoryItem { id requiresShipping }
"""

# Run by Shopify in the background. One line a variant, each with its product: nothing has to be put together, and a
# pull can go on after any line.
ALL_VARIANTS = f"""{{ productVariants {{ edges {{ node {{ {_VARIANT} product {{ {_PRODUCT} }} }} }} }} }}"""

# One line a variant, and below it (`__parentId`) one a location.
ALL_STOCK = """{ productVariants { edges { node {
  id sku
  product { status publishedAt }
  inventoryItem { id tracked inventoryLevels { edges { node {
    id
    item { id }
    location { id isActive fulfillsOnlineOrders }
    quantities(names: ["available"]) { name quantity }
  } } } }
} } } }"""

CHANGED_PRODUCTS = f"""query HubChangedProducts($query: String!, $products: Int!, $variants: Int!, $after: String) {{
  products(first: $products, after: $after, query: $query, sortKey: UPDATED_AT) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{ {_PRODUCT}
      variants(first: $variants) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ {_VARIANT} }} }}
    }}
  }}
}}"""

MORE_VARIANTS = f"""query HubMoreVariants($id: ID!, $variants: Int!, $after: String) {{
  product(id: $id) {{
    variants(first: $variants, after: $after) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ {_VARIANT} }} }}
  }}
}}"""

SAME_SKUS = """query HubSameSkus($query: String!, $after: String) {
  productVariants(first: 250, after: $after, query: $query) {
    pageInfo { hasNextPage endCursor }
    nodes { id sku product { status publishedAt } }
  }
}"""

# Bulk operations ----------------------------------------------------------------------------------------------

RUN_BULK = """mutation HubRunBulk($query: String!) {
  bulkOperationRunQuery(query: $query, groupObjects: false) {
    bulkOperation { id status createdAt }
    userErrors { code field message }
  }
}"""

_OPERATION = "id status errorCode createdAt objectCount fileSize url partialDataUrl query"

BULK_STATE = f"""query HubBulkState($ids: [ID!]!) {{
  nodes(ids: $ids) {{ ... on BulkOperation {{ {_OPERATION} }} }}
}}"""

# Orders -------------------------------------------------------------------------------------------------------

_SOLD = """
  id sku price inventoryPolicy sellableOnlineQuantity inventoryQuantity requiresComponents
  product { id status isGiftCard requiresSellingPlan publishedAt }
  inventoryItem { id tracked requiresShipping }
"""

VARIANTS_BY_ID = f"""query HubVariantsById($ids: [ID!]!) {{
  shop {{ currencyCode }}
  nodes(ids: $ids) {{ ... on ProductVariant {{ {_SOLD} }} }}
}}"""

VARIANTS_BY_SKU = f"""query HubVariantsBySku($query: String!, $after: String) {{
  shop {{ currencyCode }}
  productVariants(first: 100, after: $after, query: $query) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{ {_SOLD} }}
  }}
}}"""

_ORDER = """
  id cancelledAt cancelReason displayFinancialStatus displayFulfillmentStatus tags sourceIdentifier
  lineItems(first: 250) { nodes { quantity variant { id } } }
"""

# Our own number as a custom id: the shop enforces that it is unique, and looks it up without its search index.
IDENTITY = """query HubIdentity($namespace: String!, $key: String!) {
  metafieldDefinition(identifier: {ownerType: ORDER, namespace: $namespace, key: $key}) {
    type { name }
    capabilities { uniqueValues { enabled } }
  }
}"""

DEFINE_IDENTITY = """mutation HubDefineIdentity($definition: MetafieldDefinitionInput!) {
  metafieldDefinitionCreate(definition: $definition) {
    createdDefinition { id }
    userErrors { code field message }
  }
}"""

ORDER_BY_IDENTITY = f"""query HubOrderByIdentity($namespace: String!, $key: String!, $value: String!) {{
  orderByIdentifier(identifier: {{customId: {{namespace: $namespace, key: $key, value: $value}}}}) {{ {_ORDER} }}
}}"""

ORDERS_BY_TAG = f"""query HubOrdersByTag($query: String!) {{
  orders(first: 10, query: $query) {{ nodes {{ {_ORDER} }} }}
}}"""

CREATE_ORDER = f"""mutation HubCreateOrder($order: OrderCreateOrderInput!, $options: OrderCreateOptionsInput) {{
  orderCreate(order: $order, options: $options) {{
    order {{ {_ORDER} }}
    userErrors {{ code field message }}
  }}
}}"""

CANCEL_ORDER = """mutation HubCancelOrder($id: ID!, $reason: OrderCancelReason!, $note: String) {
  orderCancel(orderId: $id, reason: $reason, restock: true, notifyCustomer: false, staffNote: $note,
              refundMethod: {originalPaymentMethodsRefund: false}) {
    job { id done }
    orderCancelUserErrors { code field message }
  }
}"""

ORDER = f"""query HubOrder($id: ID!) {{
  order(id: $id) {{ {_ORDER} }}
}}"""

ORDER_STATE = """query HubOrderState($id: ID!) {
  order(id: $id) {
    id updatedAt cancelledAt displayFulfillmentStatus sourceIdentifier
    fulfillments {
      id status displayStatus updatedAt deliveredAt
      trackingInfo { number company }
    }
  }
}"""
