"""What is asked of Vendure, as GraphQL. Each document has one named operation; the name goes with the request. The Shop
API's answers are unions, so every document asks for `__typename` and what an error says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hub.kernel.errors import Misconfigured

_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,99}")
_ERROR = "... on ErrorResult { errorCode message }"
_STOCK = """
      id sku trackInventory outOfStockThreshold useGlobalOutOfStockThreshold
      stockLevels { stockLocationId stockOnHand stockAllocated }"""

LOGIN = f"""
mutation Login($username: String!, $password: String!) {{
  login(username: $username, password: $password) {{ __typename {_ERROR} }}
}}"""

SETTINGS = "query Settings { globalSettings { trackInventory outOfStockThreshold } }"

STOCK = f"""
query Stock($options: ProductVariantListOptions) {{
  productVariants(options: $options) {{ totalItems items {{ {_STOCK} }} }}
}}"""

SKUS = """
query Skus($options: ProductVariantListOptions) {
  productVariants(options: $options) { totalItems items { id sku } }
}"""

PRICES = """
query Prices($options: ProductVariantListOptions) {
  productVariants(options: $options) { totalItems items { id price priceWithTax currencyCode } }
}"""

PRODUCTS = """
query Products($options: ProductListOptions) {
  products(options: $options) { totalItems items { id } }
}"""

# What an order is checked against, before it is placed.
ON_SALE = f"""
query OnSale($options: ProductVariantListOptions) {{
  globalSettings {{ trackInventory outOfStockThreshold }}
  productVariants(options: $options) {{
    totalItems
    items {{ {_STOCK} enabled price priceWithTax currencyCode product {{ enabled }} }}
  }}
}}"""

_MOVES = 'sort: { createdAt: DESC }, take: 10, filter: { type: { eq: "ORDER_STATE_TRANSITION" } }'
_ORDER = f"""
      id code state orderPlacedAt updatedAt
      billingAddress {{ company }}
      payments {{ state createdAt }}
      fulfillments {{ state method trackingCode updatedAt }}
      history(options: {{ {_MOVES} }}) {{ items {{ createdAt data }} }}"""

ORDER = f"""
query Order($options: OrderListOptions) {{
  globalSettings {{ trackInventory outOfStockThreshold }}
  orders(options: $options) {{
    totalItems
    items {{ {_ORDER}
      lines {{ id quantity productVariant {{ {_STOCK} }} }}
    }}
  }}
}}"""

ORDERS = """
query Orders($options: OrderListOptions) {
  orders(options: $options) { totalItems items { id code state orderPlacedAt billingAddress { company } } }
}"""

TRACKED = f"""
query Tracked($options: OrderListOptions) {{
  orders(options: $options) {{ totalItems items {{ {_ORDER} }} }}
}}"""

_MOVED = "{ id type quantity createdAt }"
MOVEMENTS = f"""
query Movements($id: ID!, $skip: Int!, $take: Int!) {{
  productVariant(id: $id) {{
    stockLevels {{ stockOnHand stockAllocated }}
    stockMovements(options: {{ skip: $skip, take: $take }}) {{
      totalItems
      items {{ ... on StockMovement {_MOVED} }}
    }}
  }}
}}"""

CANCEL = f"""
mutation CancelOrder($input: CancelOrderInput!) {{
  cancelOrder(input: $input) {{ __typename ... on Order {{ id code state }} {_ERROR} }}
}}"""

# A cart. The first item makes the order; of several in one request each would make an order of its own, since the
# server reads the session once a request.
_CART = f"__typename ... on Order {{ id code state }} {_ERROR}"

FIRST_ITEM = f"""
mutation FirstItem($variant: ID!, $quantity: Int!) {{
  addItemToOrder(productVariantId: $variant, quantity: $quantity) {{ {_CART} }}
}}"""

QUOTES = """
query Quotes {
  eligibleShippingMethods { id code priceWithTax }
  eligiblePaymentMethods { code isEligible }
}"""

ARRANGE = f"""
mutation Arrange($methods: [ID!]!) {{
  method: setOrderShippingMethod(shippingMethodId: $methods) {{ __typename ... on Order {{ id code }} {_ERROR} }}
  arranged: transitionOrderToState(state: "ArrangingPayment") {{
    __typename {_ERROR}
    ... on OrderStateTransitionError {{ transitionError }}
    ... on Order {{
      id code state currencyCode subTotal subTotalWithTax
      lines {{ quantity proratedLinePrice proratedLinePriceWithTax productVariant {{ id }} }}
    }}
  }}
}}"""

PAY = f"""
mutation Pay($input: PaymentInput!) {{
  addPaymentToOrder(input: $input) {{
    __typename ... on Order {{ id code state }} {_ERROR}
    ... on PaymentFailedError {{ paymentErrorMessage }}
    ... on PaymentDeclinedError {{ paymentErrorMessage }}
    ... on IneligiblePaymentMethodError {{ eligibilityCheckerMessage }}
  }}
}}"""


def variants(custom_fields: Iterable[str], *, collections: bool) -> str:
    """The document that lists variants with all that the map reads."""
    names = " ".join(sorted({checked(name) for name in custom_fields}))
    return f"""
query Variants($options: ProductVariantListOptions) {{
  productVariants(options: $options) {{
    totalItems
    items {{
      id sku name enabled price priceWithTax currencyCode
      translations {{ languageCode name }}
      options {{ name code group {{ name code }} }}
      facetValues {{ code name facet {{ code }} }}
      featuredAsset {{ preview }}
      {f"customFields {{ {names} }}" if names else ""}
      product {{
        id name enabled description
        translations {{ languageCode name }}
        facetValues {{ code name facet {{ code }} }}
        {"collections { name }" if collections else ""}
        featuredAsset {{ preview }}
      }}
    }}
  }}
}}"""


def rest_of_cart(more_items: Sequence[int], po_field: str | None) -> str:
    """The document that completes a cart: the items numbered `more_items`, who, where to, and our number."""
    given = "".join(f", $v{n}: ID!, $q{n}: Int!" for n in more_items)
    added = "".join(
        f"\n  item{n}: addItemToOrder(productVariantId: $v{n}, quantity: $q{n}) {{ {_CART} }}" for n in more_items
    )
    named = f"\n  number: setOrderCustomFields(input: $number) {{ {_CART} }}" if po_field else ""
    given += ", $number: UpdateOrderInput!" if po_field else ""
    return f"""
mutation RestOfCart($customer: CreateCustomerInput!, $to: CreateAddressInput!, $billing: CreateAddressInput!{given}) {{
  billing: setOrderBillingAddress(input: $billing) {{ {_CART} }}{named}
  customer: setCustomerForOrder(input: $customer) {{ {_CART} }}
  to: setOrderShippingAddress(input: $to) {{ {_CART} }}{added}
}}"""


def checked(name: str) -> str:
    """`name` if it can be a field's; raises Misconfigured."""
    if not _NAME.fullmatch(str(name)):
        raise Misconfigured(f"{str(name)[:60]!r} cannot be a custom field's name", code="bad_config")
    return str(name)
